"""The types that a type checker must infer for streams, through every operator."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, assert_type

from dual_mode_streaming import streams
from dual_mode_streaming.bridges import collect_sync, from_sync, iterate_sync, shared_loop
from dual_mode_streaming.streams import (
    Broadcast,
    BufferedStream,
    EachProcessor,
    Emitter,
    Overflow,
    Processor,
    Stream,
    each,
)


async def numbers() -> AsyncIterator[int]:
    yield 1


async def words() -> AsyncGenerator[str, None]:
    yield "a"


async def to_text(number: int) -> str:
    return str(number)


async def sources(queue: "asyncio.Queue[int]") -> None:
    assert_type(streams.stream_content("ab", 0.1), Stream[str])
    assert_type(streams.stream_content(content=[1, 2]), Stream[int])
    assert_type(streams.endless_stream(), Stream[Any])
    assert_type(streams.dequeue(queue), Stream[int])
    assert_type(await streams.gather_stream(numbers()), list[int])
    assert_type(await streams.gather_text(words()), str)
    assert_type(await streams.enqueue(numbers(), queue, end=None), None)

    def register(emit: Emitter[int]) -> None:
        emit(1)

    assert_type(streams.from_callback(register), BufferedStream[int])


async def combined() -> None:
    assert_type(streams.merge(numbers(), words()), Stream[int | str])
    assert_type(streams.merge(numbers(), words(), from_sync([1.0])), Stream[int | str | float])
    assert_type(streams.merge([numbers(), numbers()]), Stream[int])
    assert_type(streams.merge(*[numbers()] * 9), Stream[int])
    assert_type(streams.concat(numbers(), words()), Stream[int | str])
    assert_type(streams.zip(numbers(), words()), Stream[tuple[int, str]])
    assert_type(streams.split(numbers(), 3, with_copy=True), tuple[Stream[int], ...])
    async for item in streams.merge(numbers(), words()):
        assert_type(item, int | str)
    async with streams.merge(numbers(), numbers()) as stream:
        assert_type(await anext(stream), int)
        async for number in stream:
            assert_type(number, int)


async def shaped() -> None:
    assert_type(streams.map(numbers(), str), Stream[str])
    assert_type(streams.map(numbers(), to_text), Stream[str])
    assert_type(streams.filter(numbers(), bool), Stream[int])
    assert_type(streams.take(numbers(), 3), Stream[int])
    assert_type(streams.aenumerate(words(), start=1), Stream[tuple[int, str]])
    assert_type(streams.batched(numbers(), 3, max_wait=1), Stream[list[int]])
    assert_type(streams.pace(numbers(), 1), Stream[int])
    assert_type(streams.throttle(numbers(), 1).dropped, int)
    assert_type(streams.idle_timeout(numbers(), 1), Stream[int])
    assert_type(streams.deadline(numbers(), 1), Stream[int])
    assert_type(streams.heartbeat(numbers(), 15, lambda: None), Stream[int | None])
    assert_type(
        streams.buffer(numbers(), 3, overflow=Overflow.COALESCE, coalesce=max),
        BufferedStream[int],
    )
    async with Broadcast(words) as cast:
        assert_type(cast.subscribe(), BufferedStream[str])


@Processor
async def lengths(items: AsyncIterator[str]) -> AsyncIterator[int]:
    async for item in items:
        yield len(item)


@each
async def parse(item: str) -> float:
    return float(item)


@each
async def parse_int(item: str) -> int:
    return int(item)


@each(concurrency=3)
async def spread(item: float) -> AsyncIterator[float]:
    yield item


async def processed() -> None:
    assert_type(lengths(words()), Stream[int])
    assert_type(parse(words()), Stream[float])
    assert_type(spread, EachProcessor[float, float])
    assert_type((parse + spread)(words()), Stream[float])
    assert_type(parse + spread, EachProcessor[str, float])
    assert_type(spread // spread, EachProcessor[float, float])
    assert_type(parse // parse_int, EachProcessor[str, float | int])
    assert_type(parse + spread // spread, EachProcessor[str, float])
    assert_type(lengths // parse, Processor[str, int | float])
    assert_type((lengths // parse)(words()), Stream[int | float])
    lengths(numbers())  # type: ignore[arg-type]
    lengths + parse  # type: ignore[operator]


with iterate_sync(words()) as iterator:
    for word in iterator:
        assert_type(word, str)
assert_type(collect_sync(numbers(), loop=shared_loop()), list[int])
