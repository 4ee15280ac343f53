"""A wrong setting is one line, before anything starts; a flag wins over a variable."""

import socket
import subprocess
import time

import pytest

from dual_mode_streaming.server.settings import Settings, SettingsError, load

from .service import COMMAND, environment, serving


def refused(*flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*COMMAND, "serve", *flags),
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=20,
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--port", "eighty"), ("--port", "eighty", "integer")),
        (("--port", "65536"), ("--port", "65536", "65535")),
        (("--workers", "0"), ("--workers", "0", "1")),
        (("--store", "sqlite:x.db"), ("--store", "sqlite:x.db", "memory")),
        (("--log-level", "loud"), ("--log-level", "loud", "info")),
        (("--heartbeat", "0"), ("--heartbeat", "0")),
        (("--heartbeat", "nan"), ("--heartbeat", "nan")),
        (("--grace", "-1"), ("--grace", "-1")),
        (("--stream-limit", "soon"), ("--stream-limit", "soon", "number")),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(flags, said):
    answer = refused(*flags)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    assert all(part in answer.stderr for part in said), answer.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DUAL_MODE_PORT", "http", "integer"),
        ("DUAL_MODE_STORE", "redis://localhost", "memory"),
        ("DUAL_MODE_BATCH_ITEMS", "0", "1"),
        ("DUAL_MODE_SEND_TIMEOUT", "inf", "finite"),
        ("DUAL_MODE_STREAM_LIMIT", "-3", "0"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value_and_what_would_be_right(name, value, said):
    answer = refused(**{name: value})
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    assert name in answer.stderr
    assert value in answer.stderr
    assert said in answer.stderr


def test_a_setting_error_says_nothing_of_python():
    answer = refused("--port", "x")
    assert "Traceback" not in answer.stderr
    assert "pydantic" not in answer.stderr.lower()


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_default(monkeypatch):
    assert load().port == 8000
    monkeypatch.setenv("DUAL_MODE_PORT", "8001")
    assert load().port == 8001
    assert load(port="8002").port == 8002
    assert load(port=None).port == 8001


def test_the_error_names_the_source_that_was_used(monkeypatch):
    monkeypatch.setenv("DUAL_MODE_PORT", "x")
    with pytest.raises(SettingsError, match=r"^DUAL_MODE_PORT=x"):
        load()
    with pytest.raises(SettingsError, match=r"^--port=y"):
        load(port="y")


def test_settings_survive_the_way_to_a_worker(monkeypatch):
    settings = load(port="0", stream_limit="1.5", heartbeat="2", log_level="warning")
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_a_port_in_use_is_said_and_the_exit_code_is_not_0():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = refused("--port", str(taken.getsockname()[1]))
    assert answer.returncode not in (0, None)
    assert "address already in use" in answer.stderr.lower()
    assert "Traceback" not in answer.stderr


def test_help_and_version_are_quick():
    best = 9.0
    for _ in range(3):
        began = time.perf_counter()
        answer = subprocess.run((*COMMAND, "--help"), capture_output=True, text=True, timeout=20)
        best = min(best, time.perf_counter() - began)
        assert "serve" in answer.stdout
    assert best < 0.4 * 2, f"--help took {best:.2f} s"  # twice, for a machine that does other work
    answer = subprocess.run((*COMMAND, "--version"), capture_output=True, text=True, timeout=20)
    assert answer.stdout.strip().count(".") == 2


def test_variables_alone_are_enough():
    with serving(DUAL_MODE_PORT="0", DUAL_MODE_HOST="127.0.0.1") as service:
        assert service.url.startswith("http://127.0.0.1:")
