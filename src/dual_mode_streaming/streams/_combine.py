"""Many streams into one, and one into many: `merge`, `concat`, `zip`, `split`."""

import copy
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from typing import Any, TypeVar, overload

from dual_mode_streaming.streams._buffers import Overflow
from dual_mode_streaming.streams._fanout import Fanout
from dual_mode_streaming.streams._handoff import Handoff, read
from dual_mode_streaming.streams._scope import Pumps, Scope, Stream
from dual_mode_streaming.streams._transforms import map

__all__ = ["concat", "merge", "split", "zip"]

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
    """The items of all streams as they come, each stream's in its order.

    In: streams, or one iterable of streams. Out: their items; the end comes when all have ended, or
    with `stop_on_first` when one has.

    Bound: of each stream at most `maxsize` items are pulled and not delivered. A stream that is
    always ready cannot crowd out the others.
    On error: the other streams are cancelled, what came before is delivered, then the error is
    raised as it is; what else fails is noted on it.
    On early exit: every stream is closed, by the task that read it.
    """
    sources = _sources(streams)
    pumps = Pumps(*sources)
    handoff: Handoff[Any] = Handoff(pumps, sources, maxsize, stop_on_first=stop_on_first)
    return Stream(read(pumps, handoff), pumps)


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
    """All items of the first stream, then all of the second, and so on; all run from the start.

    In: streams, or one iterable of streams. Out: what reading one after the other gives, sooner.

    Bound: of each stream at most `maxsize` items are pulled and not delivered; then it waits for
    its turn.
    On error: it is raised in its place, after the items of the streams before; then the other
    streams are closed.
    On early exit: every stream is closed, by the task that read it.
    """
    sources = _sources(streams)
    pumps = Pumps(*sources)
    handoffs: list[Handoff[Any]] = [Handoff(pumps, [source], maxsize) for source in sources]
    return Stream(read(pumps, *handoffs), pumps)


@overload
def zip(one: AsyncIterable[A], two: AsyncIterable[B], /) -> Stream[tuple[A, B]]: ...
@overload
def zip(
    one: AsyncIterable[A], two: AsyncIterable[B], three: AsyncIterable[C], /
) -> Stream[tuple[A, B, C]]: ...
@overload
def zip(*streams: AsyncIterable[T]) -> Stream[tuple[T, ...]]: ...
def zip(*streams: AsyncIterable[Any]) -> Stream[Any]:
    """Tuples of one item of each stream, until one of them ends; they are asked in turn.

    Bound: nothing is pulled before it is asked for; `buffer` a stream that is to run ahead.
    On error: it is raised as it is, and all streams closed.
    On early exit: the streams are closed, by whoever closes this one.
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
    """`n` streams of the same items; with `with_copy` each gets its own deep copy.

    In: a stream, read by one task from when a branch is first read. Out: the branches, each of
    which gives all items, or the error. Read them at the same time, in tasks of their own.

    Bound: a branch that is `maxsize` items behind makes the source, and so the others, wait; with
    another `overflow` it loses items instead, or fails, by itself.
    On error: every branch gets what came before, then the error as it is.
    On early exit: a branch that is closed leaves the others whole; so does one that is dropped
    unread. The last to leave closes the source, in the task that read it.
    """
    if n < 1:
        raise ValueError(f"a stream can be split in 1 or more, not in {n}")
    fanout = Fanout(stream)
    branches: list[Stream[T]] = [fanout.subscribe(maxsize, overflow) for _ in range(n)]
    if with_copy:
        branches = [map(branch, copy.deepcopy) for branch in branches]
    return tuple(branches)


def _sources(streams: Sequence[Any]) -> list[AsyncIterable[Any]]:
    """The streams themselves, or those of the one iterable."""
    if len(streams) == 1 and isinstance(streams[0], Iterable):
        streams = list(streams[0])
    if len({id(stream) for stream in streams}) < len(streams):
        raise ValueError("the same stream is given twice; split() makes several of one")
    return list(streams)
