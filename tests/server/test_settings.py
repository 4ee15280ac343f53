"""Settings: a wrong one is named where it was given, and the right ones reach every worker."""

import pickle
import traceback

import pytest

from dual_mode_streaming.llm import LLMSettings
from dual_mode_streaming.server.settings import Settings, SettingsError, load
from dual_mode_streaming.web import DEFAULTS


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("port", "eighty", "integer"),
        ("port", "65536", "65535"),
        ("workers", "0", "1"),
        ("store", "mongo:x.db", "memory"),
        ("log_level", "loud", "info"),
        ("heartbeat", "nan", "finite"),
        ("grace", "-1", "0"),
        ("send_timeout", "inf", "finite"),
        ("stream_limit", "soon", "number"),
        ("batch_items", "0", "1"),
    ],
)
def test_the_error_names_what_was_given_and_what_would_be_right(monkeypatch, name, value, right):
    flag, variable = f"--{name.replace('_', '-')}", f"DUAL_MODE_{name.upper()}"
    with pytest.raises(SettingsError) as by_flag:
        load(**{name: value})
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as by_variable:
        load()
    for where, error in ((flag, by_flag), (variable, by_variable)):
        text = str(error.value)
        assert text.startswith(f"{where}={value}: ")
        assert right in text
        assert "\n" not in text


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_default(monkeypatch):
    assert load().port == 8000
    monkeypatch.setenv("DUAL_MODE_PORT", "8001")
    assert load().port == 8001
    assert load(port="8002").port == 8002
    assert load(port=None).port == 8001


def test_settings_survive_the_way_to_a_worker():
    settings = load(
        port="0",
        stream_limit="1.5",
        heartbeat="2",
        log_level="warning",
        key_streams="2",
        api_keys="first-key,second-key",
        token_secret="a secret of the workers",
    )
    there = pickle.loads(pickle.dumps(settings))
    assert there == settings
    assert [key.get_secret_value() for key in there.api_keys] == ["first-key", "second-key"]
    assert [key.get_secret_value() for key in there.token_secret] == ["a secret of the workers"]


def test_the_settings_of_the_models_are_a_group_of_their_own(monkeypatch):
    monkeypatch.setenv("DUAL_MODE_LLM_BASE_URL", "http://localhost:1")
    monkeypatch.setenv("DUAL_MODE_LLM_RATE", "7")
    usual = {"first": 0.3, "jitter": 0.3, "replay": 1}
    assert load().llm == LLMSettings(base_url="http://localhost:1", rate=7, **usual)
    assert Settings(llm={"rate": 8}).llm.rate == 8
    monkeypatch.setenv("DUAL_MODE_LLM_RATE", "-7")
    with pytest.raises(SettingsError, match=r"^DUAL_MODE_LLM_RATE=-7: should be greater than"):
        load()


def test_the_defaults_are_those_of_the_options_of_a_response():
    options = Settings().response_options()
    assert len(options) == 9
    assert options == {name: DEFAULTS[name] for name in options}


@pytest.mark.parametrize("name", ["PROT", "LLM_MODLE", "STORE_PATH", "RECORDINGS_BITES"])
def test_an_unknown_variable_is_refused(monkeypatch, name):
    monkeypatch.setenv(f"DUAL_MODE_{name}", "1")
    with pytest.raises(
        SettingsError, match=f"^DUAL_MODE_{name}: there is no such setting; the settings are "
    ):
        load()


@pytest.mark.parametrize(
    "value", ["", " ", ",", "\t", "good-key-1,", ",,good-key-1", "short", "é" * 9]
)
def test_keys_that_are_set_and_blank_or_short_do_not_open_the_service(monkeypatch, value):
    monkeypatch.setenv("DUAL_MODE_API_KEYS", value)
    with pytest.raises(SettingsError) as refused:
        load()
    text = str(refused.value)
    assert text.startswith("DUAL_MODE_API_KEYS=…: should be one or more keys, each of at least 8 ")
    assert "good" not in text


@pytest.mark.parametrize("value", ["short", "", " " * 16, "long enough to be a secret,short"])
def test_a_secret_that_could_be_guessed_is_refused_and_not_printed(monkeypatch, value):
    monkeypatch.setenv("DUAL_MODE_TOKEN_SECRET", value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert str(refused.value) == (
        "DUAL_MODE_TOKEN_SECRET=…: should be one or more secrets of at least 16 characters"
    )


def test_the_chats_own_variables_are_none_of_the_services(monkeypatch):
    monkeypatch.setenv("DUAL_MODE_UI_KEY", "k")
    assert load().port == 8000


def test_no_secret_is_in_the_traceback_of_a_wrong_setting(monkeypatch):
    monkeypatch.setenv("DUAL_MODE_WORKERS", "2")
    monkeypatch.setenv("DUAL_MODE_API_KEYS", "sk-live-1")
    with pytest.raises(SettingsError) as caught:
        load()
    assert "sk-live-1" not in "".join(traceback.format_exception(caught.value))
