"""Operators of time. No other module of this package reads the clock or sets a timer."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from typing import TypeVar

from dual_mode_streaming.streams._buffers import (
    BufferedStream,
    BufferPolicy,
    DropCount,
    Overflow,
    OverflowBuffer,
)
from dual_mode_streaming.streams._chunks import ChunkedQueue, read
from dual_mode_streaming.streams._pumps import ItemBuffer, Pumps
from dual_mode_streaming.streams._scope import Scope, Stream

T = TypeVar("T")
B = TypeVar("B")

sleep = asyncio.sleep


def _check(seconds: float, name: str = "seconds", least: float = 1e-9) -> None:
    if not seconds >= least:  # true for NaN as well
        raise ValueError(f"{name} must be {'above' if least else 'at least'} 0, not {seconds}")


async def _wait(buffer: ItemBuffer, seconds: float) -> bool:
    """Wait for an item or the end. Return False if neither came within `seconds`."""
    in_time = True

    def expire() -> None:
        nonlocal in_time
        in_time = False
        buffer.wake()

    timer = asyncio.get_running_loop().call_later(seconds, expire)
    try:
        await buffer.wait()
    finally:
        timer.cancel()
    return in_time


def idle_timeout(
    stream: AsyncIterable[T], seconds: float, *, first: float | None = None, maxsize: int = 64
) -> Stream[T]:
    """Raise TimeoutError if the reader has to wait longer than `seconds` for an item.

    In: a stream; `first`, if given, is the limit for the first item. Out: the same items. Time in
    which the reader is busy with an item does not count.

    Bound: `maxsize` items are pulled and not delivered.
    On error: the items before it are delivered, then the error is raised as it is. On a timeout the
    stream is cancelled and closed first.
    On early exit: the stream is closed by the task that read it.
    """
    _check(seconds)
    if first is not None:
        _check(first, "first")

    async def wait() -> None:
        limit = seconds if first is None or queue.delivered else first
        if not await _wait(queue, limit) and not queue.items:
            raise TimeoutError(f"no item for {limit:g} s")

    pumps = Pumps(stream)
    queue = ChunkedQueue(pumps, [stream], maxsize)
    return Stream(read(pumps, queue, wait=wait), pumps)


def heartbeat(
    stream: AsyncIterable[T], seconds: float, beat: Callable[[], B], *, maxsize: int = 64
) -> Stream[T | B]:
    """Yield `beat()` whenever the reader has waited `seconds` for an item.

    In: a stream. It is not disturbed: its `anext` is never cancelled for a beat. Out: its items,
    and the beats.

    Bound: `maxsize` items are pulled and not delivered.
    On error: the items before it are delivered, then the error is raised as it is. An error of
    `beat` ends the stream in the same way.
    On early exit: the stream is closed by the task that read it.
    """
    _check(seconds)

    async def wait() -> None:
        if not await _wait(queue, seconds) and not queue.items:
            queue.append(beat())

    pumps = Pumps(stream)
    queue: ChunkedQueue[T | B] = ChunkedQueue(pumps, [stream], maxsize)
    return Stream(read(pumps, queue, wait=wait), pumps)


def deadline(stream: AsyncIterable[T], seconds: float, *, maxsize: int = 64) -> Stream[T]:
    """Raise TimeoutError if the stream has not ended `seconds` after the first read.

    In: a stream. Out: its items until then. Items that are pulled and not delivered at that moment
    are dropped.

    Bound: `maxsize` items are pulled and not delivered.
    On error: the items before it are delivered, then the error is raised as it is.
    On early exit: the stream is closed by the task that read it.
    """
    _check(seconds)
    pumps = Pumps(stream)
    queue = ChunkedQueue(pumps, [stream], maxsize)

    async def run() -> AsyncGenerator[T, None]:
        error = TimeoutError(f"the stream did not end within {seconds:g} s")

        def expire() -> None:
            queue.items.clear()
            queue.fail(error)
            queue.wake()

        timer = asyncio.get_running_loop().call_later(seconds, expire)
        try:
            async with pumps:
                async with aclosing(read(pumps, queue)) as items:
                    async for item in items:
                        if queue.error is error:
                            break
                        yield item
                queue.raise_error()
        finally:
            timer.cancel()

    return Stream(run(), pumps)


def pace(stream: AsyncIterable[T], seconds: float) -> Stream[T]:
    """Yield items at least `seconds` apart; the stream waits, and no item is lost.

    In: a stream. Out: the same items, later.

    Bound: nothing is pulled before it is needed.
    On error: the error is raised as it is, at once.
    On early exit: the stream is closed, in the task that closes this one.
    """
    _check(seconds)
    scope = Scope(stream)

    async def items() -> AsyncGenerator[T, tuple[T] | None]:
        clock = asyncio.get_running_loop().time
        due = clock()
        async with scope:
            async for item in scope.open_read(stream):
                while True:
                    if (early := due - clock()) > 0:
                        await sleep(early)
                    due = clock() + seconds
                    if (sent := (yield item)) is None:
                        break
                    (item,) = sent

    return Stream(items(), scope)


def throttle(stream: AsyncIterable[T], seconds: float) -> BufferedStream[T]:
    """Yield the newest item, at most one every `seconds`; the items between are dropped.

    In: a stream. Out: some of its items; `.dropped` counts the others.

    Bound: one item waits.
    On error: the item that waits is delivered, then the error is raised as it is.
    On early exit: the stream is closed by the task that read it.
    """
    _check(seconds)
    pumps, drops = Pumps(stream), DropCount()
    policy: BufferPolicy[T] = BufferPolicy(1, overflow=Overflow.DROP_OLDEST)
    held = OverflowBuffer(policy, drops)

    async def run() -> AsyncGenerator[T, None]:
        clock = asyncio.get_running_loop().time
        due = clock()
        async with pumps, aclosing(held.read()) as newest:
            pumps.pump(stream, held, 1, held.demand)
            while True:
                while (early := due - clock()) > 0 and not held.done:
                    await _wait(held, early)
                if early > 0 and held:
                    await sleep(early)
                try:
                    item = await anext(newest)
                except StopAsyncIteration:
                    return
                due = clock() + seconds
                yield item

    return BufferedStream(run(), pumps, drops)


def batched(stream: AsyncIterable[T], n: int, max_wait: float | None = None) -> Stream[list[T]]:
    """Yield lists of `n` items; the last list may be shorter.

    In: a stream. Out: lists. With `max_wait`, a shorter list is yielded `max_wait` seconds after
    its first item arrived.

    Bound: the `n` items of the current list; with `max_wait` up to `n` more are pulled meanwhile.
    On error: the items before it are yielded as a list, then the error is raised as it is.
    On early exit: the stream is closed; with `max_wait` by the task that read it, else in the task
    that closes this one.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    if max_wait is not None:
        _check(max_wait, "max_wait", 0)
    else:
        scope = Scope(stream)
        return Stream(_batched(scope, stream, n), scope)
    pumps = Pumps(stream)
    queue = ChunkedQueue(pumps, [stream], n)
    return Stream(_batched_in_time(pumps, queue, n, max_wait), pumps)


async def _batched(
    scope: Scope, stream: AsyncIterable[T], n: int
) -> AsyncGenerator[list[T], tuple[T] | None]:
    async with scope:
        batch: list[T] = []
        try:
            async for item in scope.open_read(stream):
                batch.append(item)
                while len(batch) == n:
                    full, batch = batch, []
                    if (sent := (yield full)) is not None:
                        batch += sent
        except Exception:
            if batch:
                yield batch
            raise
        if batch:
            yield batch


async def _batched_in_time(
    pumps: Pumps, queue: ChunkedQueue[T], n: int, max_wait: float
) -> AsyncGenerator[list[T], None]:
    clock = asyncio.get_running_loop().time
    async with pumps:
        queue.start()
        batch: list[T] = []
        due = 0.0
        while True:
            if queue.items:
                due = due if batch else clock() + max_wait
                batch += queue.take(n - len(batch))
                queue.deliver()
                if len(batch) == n:
                    yield batch
                    batch = []
            elif queue.finished:
                break
            elif not batch:
                await queue.wait()
            elif not await _wait(queue, max(0, due - clock())) and not queue.items:
                yield batch
                batch = []
        if batch:
            yield batch
        queue.raise_error()
