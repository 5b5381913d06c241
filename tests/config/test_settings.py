"""The settings: where they come from, what is refused and how."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

import config
from config import Settings, SettingsError


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and none of our variables set."""
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(**overrides: object) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        config.load(**overrides)
    assert str(refused.value).splitlines() == list(refused.value.problems)
    return refused.value.problems


def test_defaults_need_no_account_and_no_key() -> None:
    """With nothing set everything is local, and the trace store is on."""
    settings = config.load()
    assert (*settings.stt, *settings.llm, *settings.tts) == ("local", "scripted", "local")
    assert settings.sentry_dsn is None
    assert settings.trace_store == Path("traces.db")
    assert settings.propagate_to == ("127.0.0.1", "localhost")


def test_environment_wins_over_dotenv(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment, then .env, then the default; other lines of .env are nobody's business."""
    (workplace / ".env").write_text("PARLEY_GATEWAY_PORT=1\nPARLEY_MAX_SESSIONS=2\nOTHER=x\n")
    monkeypatch.setenv("PARLEY_GATEWAY_PORT", "3")
    settings = config.load()
    assert (settings.gateway_port, settings.max_sessions) == (3, 2)
    assert settings.gateway_host == "127.0.0.1"


def test_empty_means_not_set(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is not set, and hides the line of .env."""
    (workplace / ".env").write_text("SENTRY_DSN=https://key@sentry.example/1\n")
    monkeypatch.setenv("SENTRY_DSN", "")
    monkeypatch.setenv("PARLEY_SAMPLE_RATE", " ")
    settings = config.load()
    assert settings.sentry_dsn is None
    assert settings.sample_rate == 1.0


@pytest.mark.parametrize("value", ["", "off", "OFF"])
def test_trace_store_can_be_turned_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty PARLEY_TRACE_STORE, or `off`, turns the store off."""
    monkeypatch.setenv("PARLEY_TRACE_STORE", value)
    assert config.load().trace_store is None


def test_recordings_are_kept_beside_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one there is no place for them, and that is said when a command starts."""
    assert config.load().record == "off"
    monkeypatch.setenv("PARLEY_RECORD", "failed")
    assert config.load().record == "failed"
    monkeypatch.setenv("PARLEY_TRACE_STORE", "off")
    with pytest.raises(config.SettingsError, match=r"PARLEY_RECORD.*needs a trace store"):
        config.load()


def test_values_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are separated by commas, levels have any case, secrets stay out of the repr."""
    monkeypatch.setenv("PARLEY_PROPAGATE_TO", "api.example, 10.0.0.1,[::1],")
    monkeypatch.setenv("PARLEY_SEND_ATTRIBUTES", "app.seats, app.*")
    monkeypatch.setenv("PARLEY_SEND_ERRORS", "desk.NoTable")
    monkeypatch.setenv("PARLEY_LOG_LEVEL", "debug")
    monkeypatch.setenv("PARLEY_GATEWAY_TOKEN", "hush")
    settings = config.load()
    assert settings.propagate_to == ("api.example", "10.0.0.1", "[::1]")
    assert settings.send_attributes == ("app.seats", "app.*")
    assert settings.send_errors == ("desk.NoTable",)
    assert settings.log_level == "DEBUG"
    assert settings.gateway_token == SecretStr("hush")
    assert "hush" not in repr(settings)


def test_providers_are_named_in_the_order_they_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several of a kind are separated by commas; each may have options of its own."""
    monkeypatch.setenv("PARLEY_STT", "deepgram/nova-3:en, plugin:deepgram,local")
    monkeypatch.setenv("PARLEY_STT_OPTIONS", '{"plugin:deepgram": {"model": "nova-2"}}')
    settings = config.load()
    assert settings.stt == ("deepgram/nova-3:en", "plugin:deepgram", "local")
    assert settings.stt_options == {"plugin:deepgram": {"model": "nova-2"}}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("model=s3cret", "should be JSON"),
        ('["s3cret"]', "should be like"),
        ('{"openai": {"voice": "s3cret", "voice": "ash"}}', "JSON: 'voice' is there twice"),
        ('{"openai": {}, "openai": {"voice": "s3cret"}}', "JSON: 'openai' is there twice"),
        ('{"openai": {"speed": NaN}}', "no NaN or Infinity"),
        ('{"openai": {"speed": -Infinity}}', "no NaN or Infinity"),
        ('{"openai": {"speed": 1e999}}', "no NaN or Infinity"),
        ('{"openai": {"speed": ' + "9" * 5000 + "}}", "should be JSON"),
        ('{"openai": ' + "[" * 100_000 + "]" * 100_000 + "}", "JSON that is nested less"),
        ("\ufeff{}", "should be JSON"),
        ("{'openai': {}}", "should be JSON"),
        ('{"openai": "s3cret"}', "should be like"),
        ('{"plugin:cartesia": {"api_key": "s3cret"}}', "'plugin:cartesia', which is not in"),
    ],
)
def test_options_that_cannot_be_used_are_one_line(
    value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options may hold keys, so what they were isn't repeated, in the settings' repr neither."""
    monkeypatch.setenv("PARLEY_TTS", "openai")
    monkeypatch.setenv("PARLEY_TTS_OPTIONS", value)
    (line,) = refusal()
    assert line.startswith("PARLEY_TTS_OPTIONS: ")
    assert problem in line
    assert "s3cret" not in line
    monkeypatch.setenv("PARLEY_TTS_OPTIONS", '{"openai": {"api_key": "s3cret"}}')
    assert "s3cret" not in repr(config.load())


def test_overrides_win_unless_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An override beats the environment; None is no override, a wrong name is our own mistake."""
    monkeypatch.setenv("PARLEY_GATEWAY_PORT", "1")
    assert config.load(gateway_port=2).gateway_port == 2
    assert config.load(gateway_port=None).gateway_port == 1
    with pytest.raises(TypeError, match="gateway_prot"):
        config.load(gateway_prot=2)


def test_settings_are_frozen() -> None:
    """Nobody changes a setting after it was read."""
    settings = config.load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.gateway_port = 1


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("PARLEY_SAMPLE_RATE", "3", "less than or equal to 1"),
        ("PARLEY_TRACE_LIFECYCLE", "static", "should be 'transaction' or 'stream'"),
        ("PARLEY_SEND_CONTENT", "maybe", "boolean"),
        ("PARLEY_PROPAGATE_TO", "http://a", "host name"),
        ("PARLEY_AGENT", "desk", "module:Class"),
        ("PARLEY_STT", "whisper", "local, openai, PROVIDER/MODEL or plugin:NAME"),
        ("PARLEY_LLM", "local", "scripted, openai, PROVIDER/MODEL or plugin:NAME"),
        ("PARLEY_TTS", "local,scripted", "'scripted' should be local"),
        ("PARLEY_TTS", "openai, openai", "should be there once"),
        ("PARLEY_STT", ",", "should name a provider"),
        ("PARLEY_PROVIDER_TIMEOUT", "0", "greater than 0"),
        ("OPENAI_BASE_URL", "localhost:11434", "http://"),
        ("PARLEY_INFERENCE_THREADS", "0", "greater than or equal to 1"),
        ("PARLEY_SPEECH_PRICES", '{"nova-3": 0.01}', 'like {"MODEL": {"minute": 0.01}'),
        ("PARLEY_SPEECH_PRICES", '{"nova-3": {"hour": 0.5}}', 'like {"MODEL": {"minute": 0.01}'),
        ("PARLEY_SPEECH_PRICES", '{"nova-3": {"minute": -1}}', 'like {"MODEL": {"minute": 0.01}'),
        ("PARLEY_GATEWAY_PORT", "http", "valid integer"),
        ("PARLEY_IDLE_TIMEOUT", "inf", "finite"),
        ("PARLEY_RESERVATIONS_URL", "ftp://x", "http://"),
        ("PARLEY_LOG_LEVEL", "loud", "'INFO'"),
    ],
)
def test_bad_value_is_one_line(
    variable: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad value is named, with what it was and what is allowed."""
    monkeypatch.setenv(variable, value)
    (line,) = refusal()
    assert line.startswith(f"{variable}: ")
    assert allowed in line
    assert value.upper() in line.upper()


def test_every_bad_value_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """All mistakes are told at once; an override's goes by the variable's name too."""
    monkeypatch.setenv("PARLEY_GATEWAY_PORT", "70000")
    lines = refusal(max_sessions=0)
    assert {line.split(":")[0] for line in lines} == {"PARLEY_GATEWAY_PORT", "PARLEY_MAX_SESSIONS"}


def test_bad_secret_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A malformed DSN is refused without repeating the key in it, in the cause neither."""
    monkeypatch.setenv("SENTRY_DSN", "https://s3cret/1")
    with pytest.raises(SettingsError) as refused:
        config.load()
    assert str(refused.value) == "SENTRY_DSN: should be a Sentry DSN: https://KEY@HOST/PROJECT"
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_unreadable_dotenv_is_one_line(workplace: Path) -> None:
    """A .env that isn't text is refused in one line."""
    (workplace / ".env").write_bytes(b"PARLEY_AGENT=\xff\xfe\n")
    (line,) = refusal()
    assert line.startswith(".env: can't be read")


def test_dotenv_with_a_null_character_is_one_line(workplace: Path) -> None:
    """No variable can hold one: it is refused when .env becomes part of the environment."""
    (workplace / ".env").write_bytes(b"PARLEY_LLM_MODEL=a\0b\n")
    with pytest.raises(SettingsError, match=r"^\.env: can't be read as UTF-8 text: .*null"):
        config.export_dotenv()


def test_every_setting_is_documented() -> None:
    """Each field says what it is and which variable sets it."""
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert str(field.validation_alias).isupper(), name
