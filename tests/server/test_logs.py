"""What the service logs: one line of JSON a fact, with its request's id, and no secret."""

import json
import time

import httpx

STREAM = {"Accept": "text/event-stream"}


def lines_of(running, name: str, count: int) -> list[dict[str, object]]:
    """So many lines of a logger, as soon as they are there."""
    deadline = time.monotonic() + 10
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
    deadline = time.monotonic() + 10
    while not (found := [line for line in tuple(running.log) if "ended: done" in line]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert found[0].startswith("INFO: GET /data stream ended: done, 1 items, ")
    assert found[0].strip().endswith("[mine]")
