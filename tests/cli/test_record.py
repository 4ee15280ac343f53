"""`dual-mode record`: a relay before a model's API, as a process."""

import json
import signal
import urllib.request

from tests.helpers.service import run_service

from .conftest import started


def post(url, body):
    headers = {"content-type": "application/json", "authorization": "Bearer key-0123456789"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def test_what_it_recorded_is_a_script_of_the_service(quick, tmp_path):
    file = tmp_path / "recorded.toml"
    body = {"model": "simulator", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    with started("record", quick, str(file), "--port", "0") as relay:
        line = relay.stderr.readline()
        assert line.startswith(f"Recording {quick} on http://127.0.0.1:")
        answer = post(f"{line.split()[3]}/v1/chat/completions", body)
        assert relay.stderr.readline() == "/v1/chat/completions simulator: 200, recorded\n"
        relay.send_signal(signal.SIGINT)
        assert relay.wait(60) == 0
    settings = {"DUAL_MODE_LLM_SCRIPT": str(file), "DUAL_MODE_LLM_REPLAY": "0"}
    with run_service("--log-level", "error", **settings) as service:
        assert post(f"{service.url}/v1/chat/completions", body) == answer


def test_a_wrong_url_or_file_is_refused_in_a_line(run, tmp_path):
    file = tmp_path / "x.toml"
    file.write_text("none")
    for url, told in (("127.0.0.1:9", "begins with http://"), ("http://127.0.0.1:9", "x.toml")):
        done = run("record", url, str(file))
        assert (done.code, len(done.stderr.splitlines())) == (2, 1)
        assert told in done.stderr
