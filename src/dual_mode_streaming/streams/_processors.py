"""Processors: functions from stream to stream, chained with `+` and side by side with `//`."""

import functools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Generic, TypeVar, overload

from dual_mode_streaming.streams._chunks import ChunkedQueue, read
from dual_mode_streaming.streams._combine import concat, merge, split
from dual_mode_streaming.streams._pumps import Pumps
from dual_mode_streaming.streams._scope import Scope, Stream
from dual_mode_streaming.streams._transforms import owned

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

Transform = Callable[[Any], AsyncIterable[Any]]


class Processor(Generic[A, B]):
    """A function from stream to stream, usually an async generator function.

        @Processor
        async def shout(words: AsyncIterator[str]) -> AsyncIterator[str]:
            async for word in words:
                yield word.upper()

        async with (shout + count)(stream) as items: ...

    `a + b` passes the output of `a` to `b`. `a // b` passes all items to both and merges their
    outputs as they arrive; each then runs in a task of its own, and they are up to 64 items apart.
    The other operand of `+` and `//` may be a plain function.

    The function need not close its stream. The stream is closed when the result ends, fails or is
    closed: after the function's own generator, and in the same task.
    """

    def __init__(self, function: Callable[[AsyncIterator[A]], AsyncIterable[B]]) -> None:
        self._stages: tuple[Transform, ...] = (function,)
        functools.update_wrapper(self, function, updated=())

    def __call__(self, stream: AsyncIterable[A]) -> Stream[B]:
        """Return the output for `stream`. Bound: that of the function itself, or of `//`."""
        stream = owned(stream)
        scope = Scope(stream)

        async def items() -> AsyncGenerator[B, None]:
            async with scope:
                last: AsyncIterable[Any] = stream
                for stage in self._stages:
                    last = scope.own(owned(stage(last)))
                async for item in scope.open(last):
                    yield item

        return Stream(items(), scope)

    def __add__(self, other: Callable[[AsyncIterator[B]], AsyncIterable[C]]) -> "Processor[A, C]":
        return _chain(self, other)

    def __radd__(self, other: Callable[[AsyncIterator[C]], AsyncIterable[A]]) -> "Processor[C, B]":
        return _chain(other, self)

    def __floordiv__(
        self, other: Callable[[AsyncIterator[A]], AsyncIterable[C]]
    ) -> "Processor[A, B | C]":
        return _side_by_side(self, other)

    def __rfloordiv__(
        self, other: Callable[[AsyncIterator[A]], AsyncIterable[C]]
    ) -> "Processor[A, B | C]":
        return _side_by_side(other, self)


class EachProcessor(Processor[A, B]):
    """The result of `each`.

    `a // b` of two of them runs both on each item and keeps the order: the results of `a` for an
    item, then those of `b` for it, then the next item.
    """

    def __init__(self, function: Callable[[A], Any], concurrency: int) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {concurrency}")
        super().__init__(self._run)
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._concurrency = concurrency

    def __floordiv__(
        self, other: Callable[[AsyncIterator[A]], AsyncIterable[C]]
    ) -> "Processor[A, B | C]":
        if not isinstance(other, EachProcessor):
            return super().__floordiv__(other)
        first, second = self._function, other._function

        def both(item: A) -> AsyncIterable[Any]:
            return concat(_results(first, item), _results(second, item))

        return EachProcessor(both, max(self._concurrency, other._concurrency))

    async def _run(self, stream: AsyncIterable[A]) -> AsyncGenerator[B, None]:
        if self._concurrency == 1:
            async for item in stream:
                async with aclosing(_results(self._function, item)) as results:
                    async for result in results:
                        yield result
            return
        # One pump reads the stream and starts a worker, a pump of its own, for each item. The
        # results of a worker wait in its queue. The queues wait in another queue, in order, whose
        # bound is the concurrency: one of them is being read, the others are in the list.
        workers, reader = Pumps(), Pumps()

        async def start_workers() -> AsyncGenerator[ChunkedQueue[B], None]:
            scope = Scope(stream)
            async with scope:
                async for item in scope.open(stream):
                    worker = ChunkedQueue(workers, [_results(self._function, item)], 64)
                    worker.start()
                    yield worker

        running = ChunkedQueue(reader, [start_workers()], self._concurrency - 1)
        async with workers, aclosing(read(reader, running)) as started:
            async for worker in started:
                async with aclosing(read(Scope(), worker)) as results:
                    async for result in results:
                        yield result


@overload
def each(
    function: Callable[[A], AsyncIterable[B]], *, concurrency: int = 16
) -> EachProcessor[A, B]: ...
@overload
def each(
    function: Callable[[A], Awaitable[B]], *, concurrency: int = 16
) -> EachProcessor[A, B]: ...
@overload
def each(
    *, concurrency: int
) -> Callable[[Callable[[A], AsyncIterable[B]]], EachProcessor[A, B]]: ...
def each(function: Any = None, *, concurrency: int = 16) -> Any:
    """Make a processor of a function of one item.

    In: `function(item)`, an async generator of any number of results or an async function of one.
    Out: a processor that yields the results in the order of the items. Up to `concurrency` items
    are processed at the same time.

    Bound: `concurrency` items are pulled and not done; up to 64 results of each wait.
    On error: the error is raised in its place, after the results of the earlier items; then the
    other items are cancelled.
    On early exit: the running calls are cancelled and closed, each in its task, and so is the
    stream.
    """
    if function is None:
        return functools.partial(each, concurrency=concurrency)
    return EachProcessor(function, concurrency)


async def _results(function: Callable[[Any], Any], item: Any) -> AsyncGenerator[Any, None]:
    made = function(item)
    if isinstance(made, Awaitable):
        yield await made
        return
    if not isinstance(made, AsyncIterable):
        raise TypeError(
            f"each() takes an async function or async generator function; this one returned a"
            f" {type(made).__name__}: {made!r}"
        )
    scope = Scope(made)
    async with scope:
        async for result in scope.open(made):
            yield result


def _chain(first: Transform, second: Transform) -> Processor[Any, Any]:
    chained: Processor[Any, Any] = Processor(second)
    chained._stages = (*_stages(first), *_stages(second))
    return chained


def _stages(function: Transform) -> tuple[Transform, ...]:
    return function._stages if isinstance(function, Processor) else (function,)


def _side_by_side(*functions: Transform) -> Processor[Any, Any]:
    processors = [f if isinstance(f, Processor) else Processor(f) for f in functions]

    def run(stream: AsyncIterable[Any]) -> AsyncIterable[Any]:
        branches = split(stream, len(processors))
        return merge([run(branch) for run, branch in zip(processors, branches, strict=True)])

    return Processor(run)
