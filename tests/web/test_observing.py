"""What observers are told of answers, and the line that the log has of each stream."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException

from dual_mode_streaming import Observer, drain, dual_mode, install

from .asgi import Client, get, on_virtual_clock


class Noting(Observer):
    """Notes all it is told."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def opened(self, answer):
        self.log.append(("opened", answer.method, answer.route, answer.mode.name))

    def sent(self, answer, items, gap):
        assert gap >= 0
        self.log.append(("sent", items))

    def ended(self, answer):
        self.answer = answer
        self.log.append(("ended", answer.end, answer.status, answer.items))

    def refused(self, scope, reason):
        self.log.append(("refused", reason))


class Broken(Observer):
    """Fails at everything."""

    def opened(self, answer):
        raise RuntimeError("opened")

    def sent(self, answer, items, gap):
        raise RuntimeError("sent")

    def ended(self, answer):
        raise RuntimeError("ended")


def observed(*observers: Observer, **options: Any) -> FastAPI:
    app = FastAPI()
    install(app, observers=observers)

    @app.get("/numbers/{upto}")
    @dual_mode(**options)
    async def numbers(upto: int) -> AsyncIterator[int]:
        for number in range(upto):
            yield number
            if number == 1:
                await asyncio.sleep(0)

    @app.get("/fails/{after}")
    @dual_mode(**options)
    async def fails(after: int) -> AsyncIterator[int]:
        for number in range(after):
            yield number
        raise HTTPException(418)

    @app.get("/waits")
    @dual_mode(**options)
    async def waits() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    return app


async def test_a_stream_is_told_from_its_opening_to_its_end():
    seen = Noting()
    answer = await get(observed(seen), "/numbers/5")
    opened, *sends, ended = seen.log
    assert opened == ("opened", "GET", "/numbers/{upto}", "STREAM")
    assert len(sends) >= 2, "it waits once between its items"
    assert sum(items for _, items in sends) == 5
    assert ended == ("ended", "done", 200, 5)
    assert 0 < seen.answer.first <= seen.answer.seconds
    assert seen.answer.size == len(answer.body)


async def test_a_batch_is_told_too():
    seen = Noting()
    await get(observed(seen), "/numbers/5", accept="application/json")
    assert seen.log == [
        ("opened", "GET", "/numbers/{upto}", "BATCH"),
        ("ended", "done", 200, 0),
    ]


@pytest.mark.parametrize(
    ("path", "accept", "options", "end"),
    [
        ("/fails/0", "text/event-stream", {}, ("refused", 418, 0)),
        ("/fails/2", "text/event-stream", {}, ("failed", 200, 2)),
        ("/fails/2", "application/json", {}, ("refused", 418, 0)),
        ("/numbers/9", "application/json", {"batch_items": 3}, ("failed", 413, 0)),
        ("/waits", "text/event-stream", {"max_duration": 0.02}, ("too_long", 200, 1)),
        ("/waits", "text/event-stream", {"idle_timeout": 0.02}, ("idle", 200, 1)),
    ],
)
async def test_why_it_ended(path, accept, options, end):
    seen = Noting()
    await get(observed(seen, **options), path, accept=accept)
    assert seen.log[-1] == ("ended", *end)


async def test_the_failure_of_a_head_is_its_status():
    """An error before the commit becomes a response outside of ours: its status is known then."""
    seen = Noting()
    answer = await get(observed(seen), "/fails/0")
    assert answer.status == 418
    assert seen.answer.end == "refused"


@pytest.mark.parametrize("status", [404, 429, 500, 503])
@pytest.mark.parametrize("accept", ["text/event-stream", "application/jsonl"])
@pytest.mark.parametrize("record", [False, True])
async def test_a_refusal_of_the_endpoint_is_no_failed_stream(status, accept, record, caplog):
    """A 5xx is one: the server says that it has failed."""
    caplog.set_level(logging.INFO)
    seen = Noting()
    app = FastAPI()
    install(app, observers=[seen])

    @app.get("/")
    @dual_mode(record=record)
    async def source() -> AsyncIterator[int]:
        await asyncio.sleep(0)
        raise HTTPException(status)
        yield 1

    async with app.router.lifespan_context(app):
        assert (await get(app, accept=accept)).status == status
    assert seen.answer.end == ("refused" if status < 500 else "failed")
    (line,) = [each for each in caplog.records if each.name.endswith(".streams")]
    assert line.levelno == (logging.INFO if status < 500 else logging.WARNING)


async def test_a_reader_that_leaves_and_a_drain_are_told():
    seen = Noting()
    app = observed(seen)
    gone = Client(app, "/waits")
    async with gone.running():
        await gone.until(b"data: 1\n")
        gone.leave()
    assert seen.log[-1] == ("ended", "disconnected", 200, 1)
    left = Client(app, "/waits")
    async with left.running():
        await left.until(b"data: 1\n")
        await drain(app)
    assert seen.log[-1] == ("ended", "draining", 200, 1)
    assert (await get(app, "/waits")).status == 503
    assert seen.log[-1] == ("refused", "draining")


async def test_an_observer_that_fails_harms_no_answer(caplog):
    answer = await get(observed(Broken(), seen := Noting()), "/numbers/3")
    assert answer.complete
    assert len(answer.events) == 4
    assert seen.log[-1] == ("ended", "done", 200, 3)
    assert caplog.text.count("an observer failed") >= 4, "by the opening, each send, and the end"


def test_what_is_no_observer_is_refused():
    with pytest.raises(TypeError, match="an instance of Observer, not 'metrics'"):
        install(FastAPI(), observers=["metrics"])


@on_virtual_clock
async def test_one_line_a_stream(caplog):
    app = observed()
    with caplog.at_level(logging.INFO, "dual_mode_streaming.streams"):
        await get(app, "/numbers/3", query="access_token=secret")
        await get(app, "/numbers/3", accept="application/json")
        await get(observed(max_duration=0.02), "/waits")
    lines = [r for r in caplog.records if r.name == "dual_mode_streaming.streams"]
    done, cut = lines
    assert done.levelno == logging.INFO
    assert done.getMessage().startswith("GET /numbers/{upto} stream ended: done, 3 items, ")
    assert "secret" not in done.getMessage()
    assert (done.end, done.items, done.status, done.mode) == ("done", 3, 200, "stream")
    assert cut.levelno == logging.WARNING
    assert cut.end == "too_long"
