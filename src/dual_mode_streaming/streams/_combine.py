"""Combine many streams into one, and split one into many: `merge`, `concat`, `zip`, `split`."""

import copy
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from typing import Any, TypeVar, overload

from dual_mode_streaming.streams._buffers import BufferPolicy, Overflow
from dual_mode_streaming.streams._chunks import ChunkedQueue, read
from dual_mode_streaming.streams._fanout import Fanout
from dual_mode_streaming.streams._pumps import Pumps
from dual_mode_streaming.streams._scope import Scope, Stream
from dual_mode_streaming.streams._transforms import map

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


@overload
def merge(
    streams: Iterable[AsyncIterable[T]], /, *, maxsize: int = 64, stop_on_first: bool = False
) -> Stream[T]: ...
@overload
def merge(
    one: AsyncIterable[T], /, *, maxsize: int = 64, stop_on_first: bool = False
) -> Stream[T]: ...
@overload
def merge(
    one: AsyncIterable[A],
    two: AsyncIterable[B],
    /,
    *,
    maxsize: int = 64,
    stop_on_first: bool = False,
) -> Stream[A | B]: ...
@overload
def merge(
    one: AsyncIterable[A],
    two: AsyncIterable[B],
    three: AsyncIterable[C],
    /,
    *,
    maxsize: int = 64,
    stop_on_first: bool = False,
) -> Stream[A | B | C]: ...
@overload
def merge(
    *streams: AsyncIterable[T], maxsize: int = 64, stop_on_first: bool = False
) -> Stream[T]: ...
def merge(*streams: Any, maxsize: int = 64, stop_on_first: bool = False) -> Stream[Any]:
    """Yield the items of all streams as they arrive; the order within each stream is kept.

    In: streams, or one iterable of streams. Out: their items. It ends when all streams have ended;
    with `stop_on_first`, when the first has.

    Bound: of each stream at most `maxsize` items are pulled and not delivered. A stream that is
    always ready cannot crowd out the others.
    On error: the other streams are cancelled, the items before it are delivered, then the error is
    raised as it is. Further errors become notes on it.
    On early exit: every stream is closed by the task that read it.
    """
    sources = _sources(streams)
    pumps = Pumps(*sources)
    queue: ChunkedQueue[Any] = ChunkedQueue(pumps, sources, maxsize, stop_on_first=stop_on_first)
    return Stream(read(pumps, queue), pumps)


@overload
def concat(streams: Iterable[AsyncIterable[T]], /, *, maxsize: int = 64) -> Stream[T]: ...
@overload
def concat(one: AsyncIterable[T], /, *, maxsize: int = 64) -> Stream[T]: ...
@overload
def concat(
    one: AsyncIterable[A], two: AsyncIterable[B], /, *, maxsize: int = 64
) -> Stream[A | B]: ...
@overload
def concat(
    one: AsyncIterable[A],
    two: AsyncIterable[B],
    three: AsyncIterable[C],
    /,
    *,
    maxsize: int = 64,
) -> Stream[A | B | C]: ...
@overload
def concat(*streams: AsyncIterable[T], maxsize: int = 64) -> Stream[T]: ...
def concat(*streams: Any, maxsize: int = 64) -> Stream[Any]:
    """Yield all items of the first stream, then all of the second, and so on.

    In: streams, or one iterable of streams. All of them run from the start. Out: the same items as
    reading one after the other, but sooner.

    Bound: of each stream at most `maxsize` items are pulled and not delivered; then the stream
    waits until it is read.
    On error: the error is raised in its place, after the items of the earlier streams; then the
    other streams are closed.
    On early exit: every stream is closed by the task that read it.
    """
    sources = _sources(streams)
    pumps = Pumps(*sources)
    queues: list[ChunkedQueue[Any]] = [ChunkedQueue(pumps, [source], maxsize) for source in sources]
    return Stream(read(pumps, *queues), pumps)


@overload
def zip(one: AsyncIterable[A], two: AsyncIterable[B], /) -> Stream[tuple[A, B]]: ...
@overload
def zip(
    one: AsyncIterable[A], two: AsyncIterable[B], three: AsyncIterable[C], /
) -> Stream[tuple[A, B, C]]: ...
@overload
def zip(*streams: AsyncIterable[T]) -> Stream[tuple[T, ...]]: ...
def zip(*streams: AsyncIterable[Any]) -> Stream[Any]:
    """Yield tuples of one item of each stream, until the first stream ends.

    In: streams, which are read one after the other for each tuple. Out: tuples.

    Bound: nothing is pulled before it is needed; `buffer` a stream that should run ahead.
    On error: the error is raised as it is, and all streams are closed.
    On early exit: the streams are closed, in the task that closes this one.
    """
    scope = Scope(*streams)

    async def items() -> AsyncGenerator[Any, None]:
        async with scope:
            iterators = [scope.open(stream) for stream in streams]
            while iterators:
                row = []
                for iterator in iterators:
                    try:
                        row.append(await anext(iterator))
                    except StopAsyncIteration:
                        return
                yield tuple(row)

    return Stream(items(), scope)


def split(
    stream: AsyncIterable[T],
    n: int = 2,
    *,
    with_copy: bool = False,
    maxsize: int = 64,
    overflow: Overflow = Overflow.BLOCK,
) -> tuple[Stream[T], ...]:
    """Return `n` streams of the same items; with `with_copy` each gets its own deep copies.

    In: a stream. One task reads it, from the moment a branch is first read. Out: the branches. Each
    yields all items, or raises the error. Read them at the same time, in tasks of their own.

    Bound: a branch that is `maxsize` items behind makes the source, and so the other branches,
    wait. With another `overflow` only that branch loses items or fails.
    On error: every branch gets the items before it, then the error as it is.
    On early exit: a branch that is closed, or dropped without being read, does not affect the
    others. When the last branch leaves, the source is closed by the task that read it.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    fanout = Fanout(stream)
    policy: BufferPolicy[T] = BufferPolicy(maxsize, overflow=overflow)
    branches: list[Stream[T]] = [fanout.subscribe(policy) for _ in range(n)]
    if with_copy:
        branches = [map(branch, copy.deepcopy) for branch in branches]
    return tuple(branches)


def _sources(streams: Sequence[Any]) -> list[AsyncIterable[Any]]:
    """Return the streams as given, or those of the one iterable."""
    if len(streams) == 1 and isinstance(streams[0], Iterable):
        streams = list(streams[0])
    if len({id(stream) for stream in streams}) < len(streams):
        raise ValueError("the same stream is given twice; split() turns one stream into several")
    return list(streams)
