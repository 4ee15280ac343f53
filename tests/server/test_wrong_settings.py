"""A wrong setting is one line on stderr and exit code 2, before anything is started."""

import socket
import sqlite3

import httpx
import pytest
from typer.testing import CliRunner

from dual_mode_streaming.cli import app
from tests.conftest import run_service
from tests.stores.redis_server import free_port

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


@pytest.fixture
def refused(monkeypatch, tmp_path):
    """Runs the command in this process, and returns its one line."""
    monkeypatch.chdir(tmp_path)
    for server in ("SignalledServer", "Supervisor"):
        monkeypatch.setattr(f"dual_mode_streaming.server.run.{server}.run", None, raising=False)

    def run(*flags, workers="1", **variables):
        if workers != "1" and not any(flag in ("--store", "--workers") for flag in flags):
            flags = (*flags, "--store", "sqlite:streams.db")
        command = ["serve", "--port", "0", "--workers", workers, *flags]
        for name, value in variables.items():
            monkeypatch.setenv(f"DUAL_MODE_{name.upper()}", value)
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 2, (done.output, done.exception)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("dual-mode: ")
        return done.stderr

    return run


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("sqlite:missing/streams.db", "the directory of missing/streams.db does not exist"),
        ("sqlite:/proc/streams.db", "/proc/streams.db"),
        ("sqlite:.", "needs a file"),
        ("sqlite:notes.txt", "not a database"),
        ("sqlite:other.db", "another program"),
        ("sqlite:newer.db", "version 99"),
        ("redis://127.0.0.1:{free}", "127.0.0.1:{free}"),
        ("redis://127.0.0.1:port", "URL"),
        ("redis://127.0.0.1/?nonsense=1", "URL"),
        ("redis://127.0.0.1/?socket_timeout=soon", "URL"),
        ("redis://127.0.0.1/zero", "URL"),
        ("unix://{tmp}/no-socket", "no-socket"),
    ],
)
def test_a_store_that_cannot_be_used(refused, tmp_path, address, reason):
    (tmp_path / "notes.txt").write_text("no database, only some notes\n" * 100)
    for name, pragma in (("other.db", "user_version = 1"), ("newer.db", "user_version = 99")):
        with sqlite3.connect(tmp_path / name) as file:
            file.execute(f"pragma {pragma}")
            file.execute("create table streams (number integer)")
            if name == "newer.db":
                file.execute(f"pragma application_id = {0x444D5331}")
    places = {"free": free_port(), "tmp": tmp_path}
    said = refused("--store", address.format(**places), workers="2")
    assert reason.format(**places) in said


@WORKERS
@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("token_secret", "short", "16 characters"),
        ("api_keys", "", "8 visible"),
        ("api_keys", '["first-key","second-key"]', "separated by commas, not JSON"),
        ("cors_origins", '["https://a.example"]', "separated by commas, not JSON"),
        ("drain_timeout", "soon", "number"),
        ("workers", "none", "integer"),
        ("llm_script", "missing.json", "missing.json"),
        ("llm_provider", "nobody", "simulator"),
        ("colour", "red", "no such setting"),
    ],
)
def test_a_variable_that_is_wrong(refused, workers, variable, value, reason):
    if variable == "workers":
        flags, workers = ("--workers", value), "1"
        assert reason in refused(*flags, workers=workers)
    else:
        assert reason in refused(workers=workers, **{variable: value})


@WORKERS
def test_an_address_that_cannot_be_used(refused, workers):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--port", str(port), workers=workers)
        assert f"port {port} of the address 127.0.0.1 cannot be used" in said
    assert "nowhere.invalid" in refused("--host", "nowhere.invalid", workers=workers)
    assert "192.0.2.1" in refused("--host", "192.0.2.1", workers=workers)


def test_a_service_starts_on_a_store_that_can_be_used(tmp_path):
    with run_service("--store", f"sqlite:{tmp_path}/streams.db") as running:
        assert httpx.get(f"{running.url}/healthz").status_code == 200
        assert running.stop() == 0
