"""How functions of one item are run on a stream: concurrently, in order, and fused in chains.

The results of an item are a tree if its steps have any number of results. Each node is a pump. Its
queue has results, and the queues of further nodes in their places. One reader walks through them.
"""

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from dual_mode_streaming.streams._chunks import ChunkedQueue, read
from dual_mode_streaming.streams._pumps import Pumps
from dual_mode_streaming.streams._scope import Scope

__all__ = ["Both", "Function", "Step", "fused"]

Results = AsyncGenerator[Any, None]
Start = Callable[[Results], ChunkedQueue[Any]]
"""Starts a pump for the results of an item."""
Transform = Callable[[AsyncIterable[Any]], AsyncIterable[Any]]
"""A function from stream to stream."""

_RESULTS = 64
"""The most results that wait in a queue."""


class Function:
    """A step that calls a function."""

    def __init__(self, function: Callable[[Any], Any], concurrency: int) -> None:
        self.function = function
        self.concurrency = concurrency
        self.single = inspect.iscoroutinefunction(function)

    def begin(self, _start: Start) -> Callable[[Any], Results]:
        """Return what gives the results of an item. The calls for one stream are counted."""
        limit = asyncio.Semaphore(self.concurrency)

        async def results(item: Any) -> Results:
            # A call counts only while it runs. One whose results wait to be read must not keep
            # those from running that are read before it.
            async with aclosing(_results(self.function, item)) as made:
                while True:
                    async with limit:
                        try:
                            result = await anext(made)
                        except StopAsyncIteration:
                            return
                    yield result

        return results


class Both:
    """A step that runs two chains of steps on the same item, at the same time."""

    def __init__(self, *chains: "Sequence[Step]") -> None:
        self._chains = chains
        self.concurrency: int = max(step.concurrency for chain in chains for step in chain)

    def begin(self, start: Start) -> Callable[[Any], Results]:
        """Return what gives the results of an item: those of the first chain come first."""
        chains = [_begin(chain, start) for chain in self._chains]

        async def results(item: Any) -> Results:
            for started in [start(chain(item)) for chain in chains]:
                async with aclosing(_walk(started)) as made:
                    async for result in made:
                        yield result

        return results


Step = Function | Both


def fused(steps: Sequence[Step]) -> tuple[Transform, ...]:
    """Return the functions from stream to stream that do all steps with each item.

    As many items are in them as if each step had its own stream.
    """
    groups: list[list[Step]] = []
    for step in steps:
        if groups and step.concurrency > 1 and groups[-1][-1].concurrency > 1:
            groups[-1].append(step)
        else:
            groups.append([step])
    return tuple(functools.partial(_each, group) for group in groups)


def _each(steps: Sequence[Step], stream: AsyncIterable[Any]) -> Results:
    (first, *more), concurrency = steps, sum(step.concurrency for step in steps)
    if more or isinstance(first, Both):
        return _concurrently(functools.partial(_begin, steps), max(concurrency, 2), stream)
    call = functools.partial(_results, first.function)  # nothing else limits it
    if concurrency == 1:
        return _one_by_one(call, stream)
    return _concurrently(lambda _: call, concurrency, stream)


def _begin(steps: Sequence[Step], start: Start) -> Callable[[Any], Results]:
    """Return what gives the results of an item, and the queues of further ones."""
    return functools.partial(_through, [step.begin(start) for step in steps], steps, start)


async def _through(
    calls: Sequence[Callable[[Any], Results]], steps: Sequence[Step], start: Start, item: Any
) -> Results:
    for n, (call, step) in enumerate(zip(calls, steps, strict=True), 1):
        async with aclosing(call(item)) as results:
            if n < len(steps) and isinstance(step, Function) and step.single:
                item = await anext(results)
                continue
            async for result in results:
                if n < len(steps):
                    yield start(_through(calls[n:], steps[n:], start, result))
                else:
                    yield result
            return


async def _walk(queue: ChunkedQueue[Any]) -> Results:
    """Yield the results of a queue, with those of the queues in it in their places."""
    readers = [read(Scope(), queue)]
    try:
        while readers:
            async for result in readers[-1]:
                if isinstance(result, ChunkedQueue):
                    readers.append(read(Scope(), result))
                    break
                yield result
            else:
                readers.pop()
    finally:
        while readers:
            await readers.pop().aclose()


async def _one_by_one(call: Callable[[Any], Results], stream: AsyncIterable[Any]) -> Results:
    async for item in stream:
        async with aclosing(call(item)) as results:
            async for result in results:
                yield result


async def _concurrently(
    begin: Callable[[Start], Callable[[Any], Results]],
    concurrency: int,
    stream: AsyncIterable[Any],
) -> Results:
    # One pump reads the stream and starts a worker, a pump of its own, for each item. The results
    # of a worker wait in its queue. The queues wait in another queue, in order, whose bound is the
    # concurrency: one of them is being read, the others are in the list.
    workers, reader = Pumps(), Pumps()

    def start(results: Results) -> ChunkedQueue[Any]:
        worker = ChunkedQueue(workers, [results], _RESULTS)
        worker.start()
        return worker

    call = begin(start)

    async def start_workers() -> AsyncGenerator[ChunkedQueue[Any], None]:
        scope = Scope(stream)
        async with scope:
            async for item in scope.open(stream):
                yield start(call(item))

    running = ChunkedQueue(reader, [start_workers()], concurrency - 1)
    async with workers, aclosing(read(reader, running)) as started:
        async for worker in started:
            async with aclosing(_walk(worker)) as results:
                async for result in results:
                    yield result


async def _results(function: Callable[[Any], Any], item: Any) -> Results:
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
