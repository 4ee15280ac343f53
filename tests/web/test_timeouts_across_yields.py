"""A timeout of the source around its yields acts alike in a stream, in a batch and under a fold."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

import anyio
import pytest
from fastapi import FastAPI

from dual_mode_streaming import dual_mode, streams

from .asgi import Client, get, on_virtual_clock
from .witness import AnyTimeout, app_of

ACCEPT = {"stream": "text/event-stream", "batch": "application/json", "fold": "application/json"}


async def as_usual(items: Any) -> dict[str, list[Any]]:
    """What the batch is without a fold."""
    return {"data": [item async for item in items]}


def hold_the_loop() -> None:
    """Take longer than a timeslice, so that other tasks, and the timeout, run after the item."""
    began = perf_counter()
    while perf_counter() - began < 0.002:
        pass


async def in_the_source(number: int) -> None:
    """Wait in the source, so that the timeout fires there."""
    await asyncio.sleep(1)


async def outside_of_it(number: int) -> None:
    """Do not wait, so that the timeout fires while the source is suspended at its yield."""
    hold_the_loop()


async def answered(source: Any, how: str) -> tuple[int, list[Any]]:
    """The status of the answer, and its items; of a stream that failed, the status it says."""
    app = FastAPI()
    app.get("/")(dual_mode(fold=as_usual if how == "fold" else None)(source))
    try:
        answer = await get(app, accept=ACCEPT[how])
    except TimeoutError:
        return 500, []  # as any error before the answer: the server makes the 500
    if how != "stream":
        return answer.status, json.loads(answer.body)["data"]
    assert answer.complete
    *items, last = ((event.event, json.loads(event.data)) for event in answer.events)
    if last[0] == "error":
        return last[1]["status"], []
    return answer.status, [data for _, data in items]


@pytest.mark.parametrize("how", ACCEPT)
@pytest.mark.parametrize(
    ("between", "seconds", "before"), [(in_the_source, 2.5, [0, 1]), (outside_of_it, 0, [0])]
)
@pytest.mark.parametrize("then", ["goes on", "ends", "fails"])
@on_virtual_clock
async def test_a_timeout_across_yields_is_the_same_in_every_mode(
    how, between, seconds, before, then
):
    async def source():
        try:
            async with asyncio.timeout(seconds):
                for number in range(1000):
                    await between(number)
                    yield number
        except TimeoutError:
            if then == "fails":
                raise
        if then == "goes on":
            yield "after it"
            yield "and more"

    expected = {
        "goes on": (200, [*before, "after it", "and more"]),
        "ends": (200, before),
        "fails": (500, []),
    }
    assert await answered(source, how) == expected[then]


async def kept(item: Any) -> Any:
    """Return the item, as an async function does."""
    return item


READERS = {
    "map": lambda source: streams.map(source, lambda item: item),
    "map of an async function": lambda source: streams.map(source, kept),
    "filter": lambda source: streams.filter(source, lambda item: item != 1),
    "take": lambda source: streams.take(source, 100),
    "batched": lambda source: streams.map(streams.batched(source, 1), lambda items: items[0]),
    "a processor": lambda source: streams.Processor(lambda items: items)(source),
    "three": lambda source: streams.take(
        streams.filter(streams.map(source, lambda item: item), lambda item: True), 100
    ),
    "aclosing": contextlib.aclosing,
    "aclosing of an operator": lambda source: contextlib.aclosing(
        streams.map(source, lambda item: item)
    ),
}


@pytest.mark.parametrize("how", ["stream", "fold"])
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("then", ["goes on", "fails"])
@on_virtual_clock
async def test_a_timeout_across_yields_is_the_sources_whatever_reads_it(how, reader, then):
    async def source():
        try:
            async with asyncio.timeout(0):
                for number in range(1000):
                    hold_the_loop()
                    yield number
        except TimeoutError:
            if then == "fails":
                raise
        yield "after it"
        yield "and more"

    async def endpoint() -> AsyncIterator[Any]:
        return READERS[reader](source())

    expected = (200, [0, "after it", "and more"]) if then == "goes on" else (500, [])
    assert await answered(endpoint, how) == expected


@pytest.mark.parametrize("operator", [streams.map, streams.pace])
@on_virtual_clock
async def test_a_timeout_that_fires_while_an_operator_waits_is_the_sources(operator):
    async def slowly(item: Any) -> Any:
        await asyncio.sleep(1)
        return item

    async def source():
        async with asyncio.timeout(2.5):
            for number in range(1000):
                yield number

    with pytest.raises(TimeoutError):
        await streams.gather_stream(operator(source(), slowly if operator is streams.map else 1))


@on_virtual_clock
async def test_a_timeout_of_the_fold_is_the_folds():
    async def source():
        for number in range(1000):
            hold_the_loop()
            yield number

    async def until_late(items: Any) -> list[int]:
        made = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                async for item in items:
                    made.append(item)
        return made

    answer = await get(app_of(source, fold=until_late), accept="application/json")
    assert (answer.status, json.loads(answer.body)) == (200, [0])


async def test_scopes_and_timeouts_inside_the_generator_work():
    async def source() -> AsyncIterator[str]:
        with anyio.move_on_after(0.001):
            await anyio.sleep_forever()
        yield "after move_on_after"
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            yield "after timeout"
        async with asyncio.TaskGroup() as group:
            task = group.create_task(asyncio.sleep(0, "result"))
        yield task.result()

    answer = await get(app_of(source))
    assert [json.loads(event.data) for event in answer.events[:-1]] == [
        "after move_on_after",
        "after timeout",
        "result",
    ]


@pytest.mark.parametrize("rest", ["items", "its end", "a cancellation"])
@on_virtual_clock
async def test_a_source_goes_on_after_a_timeout_across_its_yields(rest):
    async def source():
        try:
            async with asyncio.timeout(0.02):
                while True:
                    yield "x" * 1000
        except TimeoutError:
            if rest == "its end":
                return
        yield "after it"
        if rest == "a cancellation":
            raise asyncio.CancelledError
        yield "and more"

    client = Client(app_of(source))
    client.pause()
    async with client.running():
        await client.blocked.wait()
        await asyncio.sleep(0.05)
        client.resume()
    data, last = [json.loads(event.data) for event in client.events], client.events[-1]
    assert last.event == ("error" if rest == "a cancellation" else "done")
    assert (data[-3:-1] == ["after it", "and more"]) == (rest == "items")
    assert ("after it" in data) == (rest != "its end")


@pytest.mark.parametrize("scope", [asyncio.timeout, anyio.fail_after])
@on_virtual_clock
async def test_a_timeout_across_yields_fires_while_the_reader_is_slow(scope):
    """It is the source's own, though it hits our send: it surfaces as its TimeoutError."""

    async def source() -> AsyncIterator[str]:
        async with AnyTimeout(scope, 0.02):
            while True:
                yield "x" * 1000

    client = Client(app_of(source))
    client.pause()
    async with client.running():
        await client.blocked.wait()
        await asyncio.sleep(0.05)
        client.resume()
    assert client.events[-1].event == "error"
    assert len(client.events) > 1, "what was made before the timeout is delivered"
    assert client.complete
