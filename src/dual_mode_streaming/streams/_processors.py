"""Processors: functions from stream to stream, chained with `+` and side by side with `//`."""

import functools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar, overload

from dual_mode_streaming.streams._combine import merge, split
from dual_mode_streaming.streams._each import Both, Function, Step, fused
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

        async def items() -> AsyncGenerator[B, tuple[B] | None]:
            async with scope:
                last: AsyncIterable[Any] = stream
                for stage in self._stages:
                    last = scope.own(owned(stage(last)))
                async for item in scope.open_read(last):
                    while (sent := (yield item)) is not None:
                        (item,) = sent

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
    """The result of `each`: a processor that treats every item alone.

    `a + b` of two of them is another, and they are fused: each item passes through both at its own
    speed, and so do the results of `a` for it. One that is slow in `b` does not keep a later one
    from its `a`. A function with `concurrency=1` is not fused: it gets the items in their order.
    `a // b` is another, too. It runs both on each item at the same time and keeps the order: the
    results of `a` for an item, then those of `b` for it, then the next item.

    At most the `concurrency` of each function's calls run at the same time in a stream.
    """

    def __init__(self, *steps: Step, like: Any = None) -> None:
        self._steps = steps
        self._stages = fused(steps)
        if like is not None:
            functools.update_wrapper(self, like, updated=())

    @overload
    def __add__(self, other: "EachProcessor[B, C]") -> "EachProcessor[A, C]": ...
    @overload
    def __add__(self, other: Callable[[AsyncIterator[B]], AsyncIterable[C]]) -> Processor[A, C]: ...
    def __add__(self, other: Any) -> Any:
        if isinstance(other, EachProcessor):
            return EachProcessor(*self._steps, *other._steps)
        return super().__add__(other)

    @overload  # mypy looks here, too, for `each + each`
    def __radd__(self, other: "EachProcessor[C, A]") -> "EachProcessor[C, B]": ...  # type: ignore[misc]
    @overload
    def __radd__(
        self, other: Callable[[AsyncIterator[C]], AsyncIterable[A]]
    ) -> Processor[C, B]: ...
    def __radd__(self, other: Any) -> Any:
        return super().__radd__(other)

    @overload
    def __floordiv__(self, other: "EachProcessor[A, C]") -> "EachProcessor[A, B | C]": ...
    @overload
    def __floordiv__(
        self, other: Callable[[AsyncIterator[A]], AsyncIterable[C]]
    ) -> Processor[A, B | C]: ...
    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, EachProcessor):
            return EachProcessor(Both(self._steps, other._steps))
        return super().__floordiv__(other)

    @overload
    def __rfloordiv__(  # type: ignore[misc]
        self, other: "EachProcessor[A, C]"
    ) -> "EachProcessor[A, B | C]": ...
    @overload
    def __rfloordiv__(
        self, other: Callable[[AsyncIterator[A]], AsyncIterable[C]]
    ) -> Processor[A, B | C]: ...
    def __rfloordiv__(self, other: Any) -> Any:
        return super().__rfloordiv__(other)


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
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
    if function is None:
        return functools.partial(each, concurrency=concurrency)
    return EachProcessor(Function(function, concurrency), like=function)


def _chain(first: Transform, second: Transform) -> Processor[Any, Any]:
    chained: Processor[Any, Any] = Processor(second)
    *before, last = _parts(first)
    joint, *after = _parts(second)
    if isinstance(last, EachProcessor) and isinstance(joint, EachProcessor):
        chained._stages = (*before, last + joint, *after)
    else:
        chained._stages = (*before, last, joint, *after)
    return chained


def _parts(function: Transform) -> tuple[Transform, ...]:
    """Return the stages of a chain; a processor of items is one, and may be fused with the next."""
    if isinstance(function, Processor) and not isinstance(function, EachProcessor):
        return function._stages
    return (function,)


def _side_by_side(*functions: Transform) -> Processor[Any, Any]:
    processors = [f if isinstance(f, Processor) else Processor(f) for f in functions]

    def run(stream: AsyncIterable[Any]) -> AsyncIterable[Any]:
        branches = split(stream, len(processors))
        return merge([run(branch) for run, branch in zip(processors, branches, strict=True)])

    return Processor(run)
