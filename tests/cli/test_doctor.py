"""`dual-mode doctor`: what it finds on this machine, and behind a proxy."""

import json
import os
import socket
from urllib.parse import urlsplit

import pytest

from dual_mode_streaming.commands._proxy_check import verdict

from .conftest import PLAIN


def found(answer):
    return {each["what"]: each for each in json.loads(answer.stdout)}


@pytest.fixture
def proxy(scripted, quick):
    """A proxy in front of the service, which holds an answer back until it is whole."""
    where = urlsplit(quick)

    def answer(connection):
        request = connection.request.replace("\r\n", "\r\nConnection: close\r\n", 1)
        request = request.replace("onnection: keep-alive", "-Nothing: 1")
        with socket.create_connection((where.hostname, where.port)) as service:
            service.sendall(request.encode())
            held = b""
            while more := service.recv(65536):
                held += more
                if not holds_back:
                    connection.socket.sendall(more)
            if holds_back:
                connection.socket.sendall(held.replace(b"\r\n", b"\r\nVia: 1.1 a-proxy\r\n", 1))

    holds_back = True

    def let_pass():
        nonlocal holds_back
        holds_back = False

    scripted.answers = [answer]
    scripted.let_pass = let_pass
    return scripted


def test_a_proxy_that_buffers_is_found(run, quick, proxy):
    direct, held = run.all(["doctor", quick, "--json"], ["doctor", proxy.url, "--json"])
    assert (direct.code, direct.stderr) == (0, "")
    assert {"reachable", "ready", "buffering"} <= found(direct).keys()
    assert found(direct)["buffering"]["level"] == "ok"
    assert held.code == 1
    assert found(held)["buffering"]["level"] == "fail"
    assert "proxy_buffering" in found(held)["buffering"]["hint"]
    assert found(held)["proxy"]["said"] == "Via: 1.1 a-proxy"
    proxy.let_pass()
    url = f"{proxy.url}/data?count=4&interval=0.1"
    own, through = run.all(["doctor", url, "--json"], ["doctor", proxy.url, "--json"])
    assert (own.code, found(own)["buffering"]["level"]) == (0, "ok")
    assert (through.code, found(through)["buffering"]["level"]) == (0, "ok")


def test_what_is_installed_and_set(run):
    answer = run("doctor")
    assert (answer.code, answer.stderr) == (0, "")
    for word in ("python: 3.", "dual-mode-streaming: ", "httpx ", "uvicorn ", "simulator"):
        assert word in answer.stdout


@pytest.mark.parametrize(
    ("variables", "what", "said"),
    [
        ({"DUAL_MODE_PROT": "1"}, "settings", "there is no such setting"),
        ({"DUAL_MODE_STORE": "sqlite:/nowhere/x.db"}, "store", "/nowhere is not a directory"),
        ({"DUAL_MODE_STORE": "redis://:secret@127.0.0.1:9/0"}, "store", "127.0.0.1:9 cannot"),
        ({"DUAL_MODE_LLM_PROVIDER": "anthropic"}, "language model", "ANTHROPIC_API_KEY"),
    ],
)
def test_what_is_misconfigured_is_told(monkeypatch, capsys, variables, what, said):
    from dual_mode_streaming.commands._doctor import doctor

    for name in set(os.environ) - set(PLAIN) | {"ANTHROPIC_API_KEY"}:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="1"):
        doctor(as_json=True)
    told = capsys.readouterr().out
    (finding,) = [each for each in json.loads(told) if each["level"] == "fail"]
    assert finding["what"] == what
    assert said in finding["said"]
    assert "secret" not in told


def test_what_cannot_be_reached_is_one_finding(run):
    answer = run("doctor", "http://127.0.0.1:9", "--json")
    assert (answer.code, answer.stderr) == (1, "")
    assert found(answer)["reachable"]["level"] == "fail"


@pytest.mark.parametrize(
    ("arrivals", "interval", "level"),
    [
        ([], 0.1, "note"),
        ([0.1, 0.2, 0.3, 0.4], 0.1, "ok"),
        ([0.4, 0.4, 0.4, 0.4], 0.1, "fail"),
        ([0.2, 0.2, 0.4, 0.4], 0.1, "warn"),
        ([0.4, 0.4, 0.4, 0.4], None, "note"),
        ([0.1, 0.9], None, "ok"),
    ],
)
def test_the_verdict(arrivals, interval, level):
    assert verdict(arrivals, interval).level == level
