"""Streams and time. This is the only file of the streams that reads the clock or sets a timer."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from typing import TypeVar

from dual_mode_streaming.streams._buffers import BufferedStream, Held, Losses, Overflow
from dual_mode_streaming.streams._handoff import Handoff, read
from dual_mode_streaming.streams._scope import Pumps, Scope, Sink, Stream

__all__ = [
    "batched",
    "deadline",
    "heartbeat",
    "idle_timeout",
    "pace",
    "sleep",
    "throttle",
]

T = TypeVar("T")
B = TypeVar("B")

sleep = asyncio.sleep


def _check(seconds: float, name: str = "seconds", least: float = 1e-9) -> None:
    if not seconds >= least:  # so that NaN is refused, too
        raise ValueError(f"{name} must be {'above' if least else 'at least'} 0, not {seconds}")


async def _wait_for_news(sink: Sink, seconds: float) -> bool:
    """Wait for an item or the end; False if neither came in time."""
    in_time = True

    def expire() -> None:
        nonlocal in_time
        in_time = False
        sink.wake()

    timer = asyncio.get_running_loop().call_later(seconds, expire)
    try:
        await sink.wait()
    finally:
        timer.cancel()
    return in_time


def idle_timeout(
    stream: AsyncIterable[T], seconds: float, *, first: float | None = None, maxsize: int = 64
) -> Stream[T]:
    """The same items; a TimeoutError if the reader waits longer than `seconds` for one.

    For the first item `first` is the limit, if given. A reader that is busy itself does not count
    as waiting.

    Bound: `maxsize` items are pulled and not delivered.
    On error: what came before is delivered, then the error is raised as it is. On a timeout the
    stream is cancelled and closed first.
    On early exit: the stream is closed by the task that read it.
    """
    _check(seconds)
    if first is not None:
        _check(first, "first")

    async def wait(handoff: Handoff[T]) -> None:
        limit = seconds if first is None or handoff.delivered else first
        if not await _wait_for_news(handoff, limit) and not handoff.items:
            raise TimeoutError(f"no item for {limit:g} s")

    pumps = Pumps(stream)
    return Stream(read(pumps, Handoff(pumps, [stream], maxsize), wait=wait), pumps)


def heartbeat(
    stream: AsyncIterable[T], seconds: float, beat: Callable[[], B], *, maxsize: int = 64
) -> Stream[T | B]:
    """The same items, and `beat()` whenever the reader has waited `seconds` for one.

    The stream is not disturbed by it: no call of its `anext` is cancelled.

    Bound, errors and early exit as with `buffer`. An error of `beat` ends the stream like one of
    its own.
    """

    _check(seconds)

    async def wait(handoff: Handoff[T | B]) -> None:
        if not await _wait_for_news(handoff, seconds) and not handoff.items:
            handoff.append(beat())

    pumps = Pumps(stream)
    handoff: Handoff[T | B] = Handoff(pumps, [stream], maxsize)
    return Stream(read(pumps, handoff, wait=wait), pumps)


def deadline(stream: AsyncIterable[T], seconds: float, *, maxsize: int = 64) -> Stream[T]:
    """The items of the first `seconds`, counted from the first read; then a TimeoutError.

    What is pulled and not delivered by then is dropped.

    Bound, errors and early exit as with `buffer`.
    """
    _check(seconds)
    pumps = Pumps(stream)
    handoff = Handoff(pumps, [stream], maxsize)

    async def run() -> AsyncGenerator[T, None]:
        error = TimeoutError(f"the stream did not end within {seconds:g} s")

        def expire() -> None:
            handoff.items.clear()
            handoff.fail(error)
            handoff.wake()

        timer = asyncio.get_running_loop().call_later(seconds, expire)
        try:
            async with pumps:
                async with aclosing(read(pumps, handoff)) as items:
                    async for item in items:
                        if handoff.error is error:
                            break
                        yield item
                handoff.check()
        finally:
            timer.cancel()

    return Stream(run(), pumps)


def pace(stream: AsyncIterable[T], seconds: float) -> Stream[T]:
    """The same items, at least `seconds` apart; none is lost, the stream waits.

    Bound: nothing is pulled before it is asked for.
    On error: it is raised as it is, at once.
    On early exit: the stream is closed, by whoever closes this one.
    """
    _check(seconds)
    scope = Scope(stream)

    async def items() -> AsyncGenerator[T, None]:
        clock = asyncio.get_running_loop().time
        due = clock()
        async with scope:
            async for item in scope.open(stream):
                if (early := due - clock()) > 0:
                    await sleep(early)
                due = clock() + seconds
                yield item

    return Stream(items(), scope)


def throttle(stream: AsyncIterable[T], seconds: float) -> BufferedStream[T]:
    """At most one item in `seconds`, always the newest; those in between are dropped, and counted.

    Bound: one item waits.
    On error: what waits is delivered, then the error is raised as it is.
    On early exit: the stream is closed by the task that read it.
    """
    _check(seconds)
    pumps, losses = Pumps(stream), Losses()
    held: Held[T] = Held(1, None, Overflow.DROP_OLDEST, losses)

    async def run() -> AsyncGenerator[T, None]:
        clock = asyncio.get_running_loop().time
        due = clock()
        async with pumps, aclosing(held.read()) as newest:
            pumps.pump(stream, held, 1, held.room)
            while True:
                while (early := due - clock()) > 0 and not held.done:
                    await _wait_for_news(held, early)
                if early > 0 and held:
                    await sleep(early)
                try:
                    item = await anext(newest)
                except StopAsyncIteration:
                    return
                due = clock() + seconds
                yield item

    return BufferedStream(run(), pumps, losses)


def batched(stream: AsyncIterable[T], n: int, max_wait: float | None = None) -> Stream[list[T]]:
    """Lists of `n` items; the last may be shorter.

    With `max_wait`, a list is given at the latest so many seconds after its first item, however
    short it is; then up to `n` further items are pulled meanwhile. Without it, nothing is pulled
    before it is asked for.
    On error: the items before it are given first, then it is raised as it is.
    On early exit: the stream is closed; by the task that read it with `max_wait`, else by whoever
    closes this one.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    if max_wait is not None:
        _check(max_wait, "max_wait", 0)
    else:
        scope = Scope(stream)
        return Stream(_batched(scope, stream, n), scope)
    pumps = Pumps(stream)
    return Stream(_batched_in_time(pumps, Handoff(pumps, [stream], n), n, max_wait), pumps)


async def _batched(scope: Scope, stream: AsyncIterable[T], n: int) -> AsyncGenerator[list[T], None]:
    async with scope:
        batch: list[T] = []
        try:
            async for item in scope.open(stream):
                batch.append(item)
                if len(batch) == n:
                    full, batch = batch, []
                    yield full
        except Exception:
            if batch:
                yield batch
            raise
        if batch:
            yield batch


async def _batched_in_time(
    pumps: Pumps, handoff: Handoff[T], n: int, max_wait: float
) -> AsyncGenerator[list[T], None]:
    clock = asyncio.get_running_loop().time
    async with pumps:
        handoff.start()
        batch: list[T] = []
        due = 0.0
        while True:
            if handoff.items:
                due = due if batch else clock() + max_wait
                missing = n - len(batch)
                piece = handoff.take(missing)
                handoff.deliver()
                batch += piece
                if len(batch) == n:
                    yield batch
                    batch = []
            elif handoff.finished:
                break
            elif not batch:
                await handoff.wait()
            elif not await _wait_for_news(handoff, max(0, due - clock())) and not handoff.items:
                yield batch
                batch = []
        if batch:
            yield batch
        handoff.check()
