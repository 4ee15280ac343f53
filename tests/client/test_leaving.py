"""Leaving a stream closes its connection at once; cancelling it reaches the server."""

import asyncio
import gc
import weakref
from typing import Any

import httpx
import pytest

from dual_mode_streaming.client import (
    AnswerError,
    AsyncDualModeClient,
    DualModeClient,
    Reconnect,
)
from tests.helpers.scripted import DONE, Answer, frame, items, page

from .conftest import AsyncHarness

pytestmark = pytest.mark.asyncio(loop_scope="package")

RECORDED = {"location": "/streams/e?x=1"}


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 60)


class Stop(Exception):
    """What a reader raises."""


async def test_break_closes_the_connection(server):
    server.then(Answer(items(1, 2), "hang"))
    async with AsyncDualModeClient(server.url) as client:
        async for _ in client.stream("/"):
            break
        await soon(server.gone)


async def test_break_closes_the_connection_of_a_stream_that_is_kept(server):
    server.then(Answer(items(1, 2), "hang"))
    async with AsyncDualModeClient(server.url) as client:
        stream = client.stream("/")
        async for _ in stream:
            break
        await soon(server.gone)
        assert stream.outcome == "closed"


async def test_an_exception_closes_the_connection(server):
    server.then(Answer(items(1, 2), "hang"))
    async with AsyncDualModeClient(server.url) as client:
        stream = client.stream("/")

        async def read() -> None:
            async with stream:
                async for _ in stream:
                    raise Stop

        with pytest.raises(Stop):
            await read()
        assert stream.outcome == "closed"
        await soon(server.gone)


@pytest.mark.parametrize("events", [[], items(1)])
async def test_a_cancelled_task_closes_the_connection(server, events):
    server.then(Answer(events, "hang"))
    async with AsyncDualModeClient(server.url) as client:

        async def read() -> None:
            async for _ in client.stream("/"):
                pass

        task = asyncio.create_task(read())
        await soon(server.hanging)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await soon(server.gone)


async def test_a_timeout_around_it_closes_the_connection(server):
    server.then(Answer(items(1), "hang"))
    limits: list[asyncio.Timeout] = []
    async with AsyncDualModeClient(server.url) as client:

        async def read() -> None:
            async with asyncio.timeout(None) as limit, client.stream("/") as stream:
                limits.append(limit)
                async for _ in stream:
                    pass

        task = asyncio.create_task(read())
        await soon(server.hanging)
        limits[0].reschedule(0)
        with pytest.raises(TimeoutError):
            await task
        await soon(server.gone)


@pytest.mark.parametrize("keep", [False, True])
async def test_plain_code_that_leaves_closes_the_connection(server, keep):
    def read() -> None:
        stream = client.stream("/")
        if keep:
            kept.append(stream)
        for _ in stream:
            break

    kept: list[Any] = []
    server.then(Answer(items(1, 2), "hang"))
    with DualModeClient(server.url) as client:
        await asyncio.to_thread(read)
        await soon(server.gone)


async def test_plain_code_that_raises_closes_the_connection(server):
    def read() -> None:
        with client.stream("/") as stream:
            for _ in stream:
                raise Stop

    server.then(Answer(items(1, 2), "hang"))
    with DualModeClient(server.url) as client:
        with pytest.raises(Stop):
            await asyncio.to_thread(read)
        await soon(server.gone)


async def test_close_while_it_is_being_read_ends_the_loop(server, harness):
    server.then(Answer(items(1), "hang"))
    async with harness.reading(server.url):
        await soon(server.hanging)
        await harness.close()
        await soon(server.gone)
    assert harness.stream.outcome == "closed"
    assert len(server.asked) == 1


async def test_close_while_it_waits_to_come_again_ends_the_loop(server, harness):
    server.then(Answer(items(1), "cut"))
    cut = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Telling(Reconnect):
        def wait(self, *args: Any, **more: Any) -> float:
            loop.call_soon_threadsafe(cut.set)
            return 60.0

    async with harness.reading(server.url, reconnect=Telling()):
        await soon(cut)
        await harness.close()
    assert harness.stream.outcome == "closed"
    assert len(server.asked) == 1


async def test_cancel_of_a_recorded_stream_is_told_to_the_server(server, harness):
    server.then(Answer(items(1), "cancelled", headers=RECORDED))
    states: list[Any] = []

    async def stop(event: Any) -> None:
        states.append(await harness.cancel())

    stream = await harness.each(server.url + "/a", stop, headers={"authorization": "Bearer k"})
    assert states == [{"state": "cancelled"}]
    assert stream.outcome == "cancelled"
    (cancel,) = server.cancels
    assert (cancel.method, cancel.target) == ("POST", "/streams/e/cancel")
    assert cancel.headers["authorization"] == "Bearer k"


async def test_cancel_of_any_other_closes_the_connection(server, harness):
    server.then(Answer(items(1, 2), "hang"))
    states: list[Any] = []

    async def stop(event: Any) -> None:
        states.append(await harness.cancel())
        await soon(server.gone)  # before the loop is left

    stream = await harness.each(server.url, stop)
    assert (states, harness.data, stream.outcome) == ([None], [1], "closed")
    assert server.cancels == []


async def test_cancel_from_elsewhere_wakes_the_reader(server, harness):
    server.then(Answer([], "hang"))
    async with harness.reading(server.url):
        await soon(server.hanging)
        assert await harness.cancel() is None
    assert harness.stream.outcome == "closed"


async def test_cancel_before_the_head_of_the_answer_has_come(server):
    """A thread that waits for it can not be woken, as `EventStream.close` says."""
    server.then(Answer(then="silent"))
    harness = AsyncHarness()
    async with harness.reading(server.url):
        await soon(server.hanging)
        assert await harness.cancel() is None
        await soon(server.gone)
    assert harness.stream.outcome == "closed"
    assert len(server.asked) == 1


async def test_a_stream_that_is_closed_before_it_began_is_empty(server, harness):
    async with AsyncDualModeClient(server.url) as client:
        async with client.stream("/") as stream:
            await stream.cancel()
            assert [event async for event in stream] == []
    with DualModeClient(server.url) as client:
        with client.stream("/") as stream:
            stream.close()
            assert list(stream) == []
    assert server.asked == []


class TestOnesOwnHttpClient:
    async def test_it_is_used_and_not_closed(self, server):
        server.then(Answer(items(1), "cut"), Answer([DONE]))
        async with httpx.AsyncClient(base_url=server.url, headers={"x-mine": "1"}) as http:
            again = Reconnect(delay=0)
            async with AsyncDualModeClient(http_client=http, reconnect=again) as client:
                async for _ in client.stream("/"):
                    pass
            assert not http.is_closed
        assert [asked.headers["x-mine"] for asked in server.asked] == ["1", "1"]

    async def test_nor_in_plain_code(self, server):
        def read() -> None:
            with httpx.Client(base_url=server.url, headers={"x-mine": "1"}) as http:
                with DualModeClient(http_client=http) as client:
                    list(client.stream("/"))
                assert not http.is_closed

        server.then(Answer([*items(1), DONE]))
        await asyncio.to_thread(read)
        assert server.asked[0].headers["x-mine"] == "1"

    async def test_our_own_is_closed(self, server):
        client, plain = AsyncDualModeClient(server.url), DualModeClient(server.url)
        async with client:
            pass
        with plain:
            pass
        assert client._http.is_closed
        assert plain._http.is_closed

    @pytest.mark.parametrize("more", [{"base_url": "http://x"}, {"headers": {"a": "b"}}])
    async def test_what_is_its_affair_is_not_ours(self, more):
        with httpx.Client() as http, pytest.raises(ValueError, match="http_client"):
            DualModeClient(http_client=http, **more)
        async with httpx.AsyncClient() as http, AsyncDualModeClient():
            with pytest.raises(ValueError, match="http_client"):
                AsyncDualModeClient(http_client=http, **more)


@pytest.mark.parametrize(
    "answer",
    [
        Answer([*items(1), DONE]),
        Answer([*items(1), frame("{}", "error")]),
        Answer([frame(1)], "cut"),
        page(404),
        Answer(items(1, 2), "hang"),
    ],
    ids=["done", "error", "cut", "refused", "left"],
)
async def test_nothing_is_left(server, harness, answer):
    """Not even a cycle: the collector is off."""

    def read() -> list[weakref.ref[Any]]:
        with DualModeClient(server.url) as client:
            stream = client.stream("/")
            try:
                for _ in stream:
                    if answer.then == "hang":
                        break
            except AnswerError:
                pass
            return [weakref.ref(stream), weakref.ref(stream._session)]

    async def read_async() -> list[weakref.ref[Any]]:
        async with AsyncDualModeClient(server.url) as client:
            stream = client.stream("/")
            try:
                async for _ in stream:
                    if answer.then == "hang":
                        break
            except AnswerError:
                pass
            return [weakref.ref(stream), weakref.ref(stream._session)]

    server.then(answer)
    gc.collect()
    gc.disable()
    try:
        left = await (asyncio.to_thread(read) if harness.name == "sync" else read_async())
        if answer.then == "hang":
            await soon(server.gone)
        assert [thing() for thing in left] == [None, None]
    finally:
        gc.enable()
