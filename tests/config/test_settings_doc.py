"""docs/settings.md: it says what the settings are, for people, and nothing that isn't so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config import Settings, SettingsError, load, settings_doc

if TYPE_CHECKING:
    from pathlib import Path

UNITS = {"conversations", "port", "processes", "seconds", "share", "threads"}


@pytest.fixture
def rows() -> dict[str, list[str]]:
    """The cells of each setting's row, by its variable."""
    found: dict[str, list[str]] = {}
    for line in settings_doc.page().splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            variable = cells[0].split("`")[1]
            assert variable not in found, f"{variable} is there twice"
            found[variable] = cells
    return found


def test_the_page_is_what_the_settings_say() -> None:
    """The file is, to the letter, what the generator writes."""
    written = settings_doc.PAGE.read_text(encoding="utf-8")
    assert written == settings_doc.page(), (
        f"docs/settings.md is not what config/settings.py says: run `{settings_doc.COMMAND}`"
    )


def test_the_generator_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command of that message mends it, and says where."""
    page = tmp_path / "settings.md"
    monkeypatch.setattr(settings_doc, "PAGE", page)
    settings_doc.main()
    assert page.read_text(encoding="utf-8") == settings_doc.page()
    assert capsys.readouterr().out == f"{page}\n"


def test_every_setting_has_a_row(rows: dict[str, list[str]]) -> None:
    """Each variable that is read is there once, with what it is, its default and what it allows."""
    assert set(rows) == {str(field.validation_alias) for field in Settings.model_fields.values()}
    for variable, cells in rows.items():
        assert len(cells) == 4, variable
        assert all(cells), variable


def test_every_setting_is_in_a_group() -> None:
    """None stands before the first comment that names a group, and no group is empty."""
    groups = settings_doc.groups_of_fields()
    assert [name for names in groups.values() for name in names] == list(Settings.model_fields)
    assert all(groups.values())


def test_secrets_are_marked(rows: dict[str, list[str]]) -> None:
    """Keys, and settings that may hold one: each whose value no message repeats is among them."""
    marked = {variable for variable, cells in rows.items() if "*secret*" in cells[0]}
    assert marked >= {"SENTRY_DSN", "PARLEY_GATEWAY_TOKEN", "LIVEKIT_API_SECRET", "OPENAI_API_KEY"}
    kept_back = set()
    for name in Settings.model_fields:
        try:
            load(**{name: "s3cret["})
        except SettingsError as error:
            variable, _, problem = str(error).partition(": ")
            if "s3cret" not in problem.lower():
                kept_back.add(variable)
    assert kept_back <= marked
    assert {"SENTRY_DSN", "PARLEY_LLM_OPTIONS"} <= kept_back


def test_a_number_says_its_unit_first() -> None:
    """A number's description begins with its unit, which the page takes from there."""
    numbers = [name for name in Settings.model_fields if settings_doc.is_number(name)]
    assert {settings_doc.unit(name) for name in numbers} == UNITS


@pytest.mark.parametrize(
    ("variable", "default", "allowed"),
    [
        ("PARLEY_SAMPLE_RATE", "`1`", "share, from 0 to 1"),
        ("PARLEY_IDLE_TIMEOUT", "`60`", "seconds, more than 0"),
        ("PARLEY_MAX_SESSIONS", "`20`", "conversations, at least 1"),
        ("PARLEY_METRICS_PORT", "not set", "port, from 0 to 65535"),
        ("PARLEY_JOB_EXECUTOR", "`thread`", "`thread` or `process`"),
        ("PARLEY_SEND_CONTENT", "`false`", "`true` or `false`"),
        ("PARLEY_TRACE_STORE", "`traces.db`", "a path"),
        ("PARLEY_AGENT_NAME", "not set", "any text"),
        ("SENTRY_DSN", "not set", "a Sentry DSN: https://KEY@HOST/PROJECT"),
        (
            "PARLEY_LLM",
            "`scripted`",
            "scripted, openai, PROVIDER/MODEL or plugin:NAME; several with commas between them",
        ),
        ("PARLEY_LLM_OPTIONS", "none", 'JSON like `{"NAME": {"OPTION": "VALUE"}}`'),
    ],
)
def test_what_is_allowed_is_said(
    variable: str, default: str, allowed: str, rows: dict[str, list[str]]
) -> None:
    """The default and what may be set instead, of each kind of setting."""
    assert rows[variable][2:] == [default, allowed]


def test_the_page_is_of_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is set where the page is written, good or bad."""
    written = settings_doc.page()
    (tmp_path / ".env").write_text("PARLEY_LLM=openai\nOPENAI_BASE_URL=nowhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARLEY_SAMPLE_RATE", "3")
    monkeypatch.setenv("PARLEY_GATEWAY_TOKEN", "hush")
    assert settings_doc.page() == written
