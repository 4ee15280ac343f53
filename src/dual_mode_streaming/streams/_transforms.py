"""Operators that run in the reader's own task, and the sinks that consume a stream."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar, overload

from dual_mode_streaming.errors import SourceCancelled
from dual_mode_streaming.streams._scope import Scope, Stream
from dual_mode_streaming.streams._sources import END, QueuedError

T = TypeVar("T")
R = TypeVar("R")


@overload
def map(stream: AsyncIterable[T], function: Callable[[T], Awaitable[R]]) -> Stream[R]: ...
@overload
def map(stream: AsyncIterable[T], function: Callable[[T], R]) -> Stream[R]: ...
def map(stream: AsyncIterable[Any], function: Callable[[Any], Any]) -> Stream[Any]:
    """Yield `function(item)` for each item; an async function is awaited, one call at a time.

    In: a stream. Out: one result per item.

    Bound: nothing is pulled before it is needed.
    On error: an error of the stream or the function is raised as it is, and the stream is closed.
    On early exit: the stream is closed, in the task that closes this one.
    """
    scope = Scope(stream)

    async def items() -> AsyncGenerator[Any, tuple[Any] | None]:
        async with scope:
            async for item in scope.open_read(stream):
                while True:
                    result = function(item)
                    if hasattr(result, "__await__"):
                        result = await result
                    if (sent := (yield result)) is None:
                        break
                    (item,) = sent

    return Stream(items(), scope)


def filter(
    stream: AsyncIterable[T], predicate: Callable[[T], object] | Callable[[T], Awaitable[object]]
) -> Stream[T]:
    """Yield the items for which `predicate(item)` is true; it may be an async function.

    In: a stream. Out: some of its items.

    Bound, errors and early exit as with `map`.
    """
    scope = Scope(stream)

    async def items() -> AsyncGenerator[T, tuple[T] | None]:
        async with scope:
            async for item in scope.open_read(stream):
                while True:
                    keep = predicate(item)
                    if hasattr(keep, "__await__"):
                        keep = await keep
                    if not keep or (sent := (yield item)) is None:
                        break
                    (item,) = sent

    return Stream(items(), scope)


def aenumerate(stream: AsyncIterable[T], start: int = 0) -> Stream[tuple[int, T]]:
    """Yield each item with its number, as `enumerate` does.

    In: a stream. Out: tuples of a number, which begins with `start`, and an item.

    Bound, errors and early exit as with `map`.
    """
    numbers = itertools.count(start)
    return map(stream, lambda item: (next(numbers), item))


def take(stream: AsyncIterable[T], n: int) -> Stream[T]:
    """Yield the first `n` items, then close the stream and end.

    In: a stream. Out: at most `n` of its items.

    Bound: no item after the last is pulled. Errors and early exit as with `map`.
    """
    scope = Scope(stream)

    async def items() -> AsyncGenerator[T, tuple[T] | None]:
        left = n
        async with scope:
            if left <= 0:
                return
            async for item in scope.open_read(stream):
                while (sent := (yield item)) is not None and left > 1:
                    (item,) = sent
                    left -= 1
                left -= 1
                if left <= 0:
                    return

    return Stream(items(), scope)


def owned(stream: AsyncIterable[T]) -> AsyncIterator[T]:
    """Return the stream as an iterator that can be closed more than once."""
    if isinstance(stream, (Stream, AsyncGenerator)):
        return stream
    scope = Scope(stream)

    async def items() -> AsyncGenerator[T, tuple[T] | None]:
        async with scope:
            async for item in scope.open_read(stream):
                while (sent := (yield item)) is not None:
                    (item,) = sent

    return Stream(items(), scope)


async def gather_stream(stream: AsyncIterable[T]) -> list[T]:
    """Return all items as a list. The stream is closed, also on an error or a cancellation."""
    scope = Scope(stream)
    async with scope:
        return [item async for item in scope.open(stream)]


async def gather_text(stream: AsyncIterable[T], of: Callable[[T], str] | None = None) -> str:
    """Return the text of all items as one string. The stream is closed as by `gather_stream`.

    Args:
        stream: the items.
        of: returns the text of an item. By default that is the item if it is a str, else its `text`
            attribute if that is a str, else nothing.
    """
    text_of = _text if of is None else of
    return "".join([text_of(item) for item in await gather_stream(stream)])


def _text(item: object) -> str:
    text = item if isinstance(item, str) else getattr(item, "text", None)
    return text if isinstance(text, str) else ""


async def enqueue(stream: AsyncIterable[T], queue: "asyncio.Queue[Any]", end: object = END) -> None:
    """Put all items into `queue`, then `end`; `dequeue` is the other side.

    In: a stream, which is closed at the end, and a queue, which is not.

    Bound: that of the queue; while it is full, the stream waits.
    On error: the error goes through the queue, and `dequeue` raises it; it is not raised here. An
    item that is the end marker (None with `end=None`) is a ValueError on both sides.
    On cancellation: the reader gets a SourceCancelled. If the queue is full it replaces the last
    item, because a cancelled task must not wait.
    """
    scope = Scope(stream)
    misuse: ValueError | None = None
    try:
        async with scope:
            try:
                async for item in scope.open(stream):
                    if item is end:
                        misuse = ValueError(f"an item is the queue's end marker, {end!r}")
                        raise misuse
                    await queue.put(item)
                last = end
            except Exception as error:
                last = QueuedError(error)
        await queue.put(last)
    except asyncio.CancelledError:
        if queue.full():
            queue.get_nowait()
            queue.task_done()
        queue.put_nowait(QueuedError(SourceCancelled()))
        raise
    if misuse is not None:
        raise misuse
