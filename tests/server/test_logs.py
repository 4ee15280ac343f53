"""What the service logs: one line of JSON a fact, with its request's id, and no secret."""

import json
import logging
import logging.config
import time

import httpx
import pytest

from dual_mode_streaming.server._logs import log_config, redacted

STREAM = {"Accept": "text/event-stream"}


def lines_of(running, name: str, count: int) -> list[dict[str, object]]:
    """So many lines of a logger, as soon as they are there."""
    deadline = time.monotonic() + 60
    while True:
        lines = [json.loads(line) for line in tuple(running.log)]
        if len(found := [line for line in lines if line["logger"] == name]) >= count:
            return found
        assert time.monotonic() < deadline, running.log
        time.sleep(0.01)  # the pipe tells nobody


def test_one_line_of_json_when_a_stream_ends_with_the_id_of_its_request(start_service):
    running = start_service("--log-format", "json")
    asked = f"{running.url}/data?count=2&interval=0&access_token=s3cret"
    answer = httpx.get(asked, headers={**STREAM, "X-Request-ID": "my-own.id_1"})
    assert answer.headers["x-request-id"] == "my-own.id_1"
    (ended,) = lines_of(running, "dual_mode_streaming.streams", 1)
    assert ended["request_id"] == "my-own.id_1"
    assert (ended["route"], ended["end"], ended["items"]) == ("/data", "done", 2)
    assert ended["level"] == "INFO"
    (access,) = lines_of(running, "uvicorn.access", 1)
    assert access["request_id"] == "my-own.id_1"
    assert "/data?count=2" in str(access["message"])
    assert not [line for line in running.log if "s3cret" in line]


def test_an_id_that_could_be_mistaken_for_something_else_is_replaced(start_service):
    running = start_service("--log-format", "json")
    bad = ["a b", "x" * 65, 'x"}\\n{"level": "ERROR', "é"]
    for number, name in enumerate(bad):
        answer = httpx.get(f"{running.url}/healthz", headers={"X-Request-ID": name.encode()})
        given = answer.headers["x-request-id"]
        assert len(given) == 32
        assert lines_of(running, "uvicorn.access", number + 1)[-1]["request_id"] == given
        assert not [line for line in running.log if name in line]


def test_as_text_it_is_one_line_too(start_service):
    running = start_service()
    httpx.get(f"{running.url}/data?count=1", headers={**STREAM, "X-Request-ID": "mine"})
    deadline = time.monotonic() + 60
    while not (found := [line for line in tuple(running.log) if "ended: done" in line]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert found[0].startswith("INFO: GET /data stream ended: done, 1 items, ")
    assert found[0].strip().endswith("[mine]")


@pytest.mark.parametrize(
    "text",
    [
        "GET /a?access_token=s3cret&b=1",
        "/a?access_toke%6E=s3cret",
        "/a?access_toke%256E=s3cret",
        "/a?ACCESS_%54oken=s3cret",
        "/a?%61%63%63%65%73%73%5f%74%6f%6b%65%6e=s3cret",
        "/a?%2525252561ccess_token=s3cret",
        "/a?access_token%3Ds3cret",
        "/a?next=%2Fb%3Faccess_token%3Ds3cret",
        "/a?next=%2Fb%3Faccess_token%3Da%2526s3cret",
        "/a?access_toke%6e=a%26s3cret",
        "/a?access_token[]=s3cret",
        "/a?access_token%00=s3cret",
        "/a?b;access_token=s3cret;c",
        "/a?access_token=%22s3cret",
        "/a?API-Key=s3cret",
        "/a?to=http%3A%2F%2Fu%3As3cret%40h%2F",
        "authorization: Bearer s3cret-of-mine",
        "{'authorization': 'Bearer s3cret-of-mine'}",
        "[(b'x-api-key', b's3cret')]",
        "Cookie: a=s3cret",
        "redis://:s3cret@host:6379/0 does not answer",
    ],
)
def test_a_secret_is_in_no_log_however_it_is_written(text):
    assert "s3cret" not in redacted(text)


@pytest.mark.parametrize(
    "text", ["GET /a%20b?c=d%20e&count=2", "the key is valid", "http://host/a@b", "100% of 3=x"]
)
def test_what_is_no_secret_is_logged_as_it_is(text):
    assert redacted(text) == text


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_text_of_an_exception_has_no_secret(form, capsys, caplog):
    names = ("uvicorn", "dual_mode_streaming", "asgi_correlation_id")
    before = {
        name: (list(logging.getLogger(name).handlers), logging.getLogger(name).propagate)
        for name in names
    }
    logging.config.dictConfig(log_config("info", form))
    logging.getLogger("uvicorn").addHandler(caplog.handler)  # after the service's own
    try:
        raise ValueError("redis://u:s3cret@host failed")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("GET /a?%s=s3cret", "access_toke%6e")
    finally:
        for name, (handlers, propagate) in before.items():
            logging.getLogger(name).handlers = handlers
            logging.getLogger(name).propagate = propagate
    assert caplog.records[-1].exc_info is not None, "other handlers get the record as it was"
    said = capsys.readouterr().err
    assert "@host failed" in said
    assert "s3cret" not in said
