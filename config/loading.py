"""Reading the settings: errors name the variable, and never show a secret."""

from __future__ import annotations

from typing import Any, get_args

from dotenv import load_dotenv
from pydantic import SecretStr, ValidationError

from .settings import Settings, variable_of


class SettingsError(Exception):
    """Settings that can't be used: ``problems``, one line of text each. No secret is in them."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(**overrides: Any) -> Settings:
    """Read the settings; ``overrides`` are by field name, win, and count only when not None.

    Raises :class:`SettingsError` with one line of text for each bad value: the variable's name, the
    values allowed and, unless it is a secret, the value given.
    """
    if unknown := overrides.keys() - Settings.model_fields.keys():
        raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})
    except ValidationError as error:
        problems = [_problem(e["loc"], e["msg"], e["input"]) for e in error.errors()]
        raise SettingsError(*problems) from None  # the cause quotes secrets
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f".env: can't be read as UTF-8 text: {error}") from error


def export_dotenv() -> None:
    """Put the contents of ``.env`` into the environment, where that doesn't say otherwise.

    Not everything in it is a setting of ours: plugins look there for their keys, agents for the
    services they use. Raises :class:`SettingsError`.
    """
    try:
        load_dotenv(".env", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f".env: can't be read as UTF-8 text: {error}") from error


_SECRETS = {
    variable_of(name)
    for name, field in Settings.model_fields.items()
    if SecretStr in get_args(field.annotation) or not field.repr
}


def _problem(location: tuple[int | str, ...], message: str, value: object) -> str:
    """The problem with one bad value in one line of text, made of pydantic's own."""
    name = str(location[0])  # an override's error is at the field's name
    variable = variable_of(name) if name in Settings.model_fields else name
    problem = message.removeprefix("Value error, ").removeprefix("Input ")
    if variable in _SECRETS:
        return f"{variable}: {problem}"
    given = repr(value)
    return f"{variable}: {problem}, not {given if len(given) <= 80 else given[:77] + '…'}"
