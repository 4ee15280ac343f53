"""What the operators are compared with: the same jobs by the peers, as their users write them."""

import asyncio
import queue
import threading
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import aiostream
import anyio
import janus
from genai_processors import content_api, processor
from genai_processors import streams as genai

PACKAGES = ["genai-processors", "aiostream", "anyio", "janus", "uvloop"]

genai_merge, genai_split, genai_concat = genai.merge, genai.split, genai.concat


def genai_merge_64(*sources: AsyncIterable[int]) -> AsyncIterator[int]:
    return genai.merge(*sources, queue_maxsize=64)


async def genai_stages(source: AsyncIterable[int]) -> AsyncIterator[Any]:
    """`p + p + p` of part processors, which take ProcessorParts."""

    @processor.part_processor_function
    async def same(part: content_api.ProcessorPart) -> AsyncIterator[content_api.ProcessorPart]:
        yield part

    parts = (content_api.ProcessorPart("x") async for _ in source)
    async for part in (same + same + same).to_processor()(parts):
        yield part


async def aiostream_merge(*sources: AsyncIterable[int]) -> AsyncIterator[int]:
    async with aiostream.stream.merge(*sources).stream() as streamer:
        async for item in streamer:
            yield item


async def aiostream_concat(*sources: AsyncIterable[int]) -> AsyncIterator[int]:
    async with aiostream.stream.chain(*sources).stream() as streamer:
        async for item in streamer:
            yield item


async def aiostream_stages(source: AsyncIterable[int]) -> AsyncIterator[int]:
    stages = source
    for _ in range(3):
        stages = aiostream.stream.map(stages, lambda item: item)
    async with aiostream.streamcontext(stages) as streamer:
        async for item in streamer:
            yield item


async def anyio_merge(*sources: AsyncIterable[int]) -> AsyncIterator[int]:
    """Memory object streams; the task group over the yield is how it is mostly written."""
    send, receive = anyio.create_memory_object_stream[int](64)

    async def feed(source: AsyncIterable[int], into: Any) -> None:
        async with into:
            async for item in source:
                await into.send(item)

    async with anyio.create_task_group() as group, receive:
        async with send:
            for source in sources:
                group.start_soon(feed, source, send.clone())
        async for item in receive:
            yield item


def anyio_split(source: AsyncIterable[int], n: int) -> tuple[AsyncIterator[int], ...]:
    pairs = [anyio.create_memory_object_stream[int](64) for _ in range(n)]

    async def feed() -> None:
        async for item in source:
            for send, _ in pairs:
                await send.send(item)
        for send, _ in pairs:
            send.close()

    task = asyncio.get_running_loop().create_task(feed())

    async def branch(receive: Any) -> AsyncIterator[int]:
        async with receive:
            async for item in receive:
                yield item
        await task

    return tuple(branch(receive) for _, receive in pairs)


async def queue_handoff(source: AsyncIterable[int]) -> AsyncIterator[int]:
    items: asyncio.Queue[Any] = asyncio.Queue(64)

    async def feed() -> None:
        async for item in source:
            await items.put(item)
        await items.put(None)

    task = asyncio.get_running_loop().create_task(feed())
    while (item := await items.get()) is not None:
        yield item
    await task


async def queue_each(source: AsyncIterable[int], subscribers: int) -> int:
    queues: list[asyncio.Queue[Any]] = [asyncio.Queue() for _ in range(subscribers)]

    async def drain(items: "asyncio.Queue[Any]") -> int:
        count = 0
        while await items.get() is not None:
            count += 1
        return count

    async def feed() -> int:
        async for item in source:
            for items in queues:
                items.put_nowait(item)
        for items in queues:
            items.put_nowait(None)
        return 0

    return sum(await asyncio.gather(feed(), *map(drain, queues)))


async def wait_for_timeout(source: AsyncIterator[int]) -> AsyncIterator[int]:
    while True:
        try:
            yield await asyncio.wait_for(anext(source), 60)
        except StopAsyncIteration:
            return


async def timeout_timeout(source: AsyncIterator[int]) -> AsyncIterator[int]:
    while True:
        try:
            async with asyncio.timeout(60):
                item = await anext(source)
        except StopAsyncIteration:
            return
        yield item


def queue_bridge(source: AsyncIterable[int]) -> int:
    items: queue.Queue[Any] = queue.Queue(64)

    async def feed() -> None:
        async for item in source:
            items.put(item)
        items.put(None)

    thread = threading.Thread(target=asyncio.run, args=(feed(),))
    thread.start()
    count = 0
    while items.get() is not None:
        count += 1
    thread.join()
    return count


def janus_bridge(source: AsyncIterable[int]) -> int:
    ready: queue.Queue[janus.Queue[Any]] = queue.Queue()
    finished = threading.Event()

    async def feed() -> None:
        items: janus.Queue[Any] = janus.Queue(64)
        ready.put(items)
        async for item in source:
            await items.async_q.put(item)
        await items.async_q.put(None)
        await asyncio.to_thread(finished.wait)
        await items.aclose()

    thread = threading.Thread(target=asyncio.run, args=(feed(),))
    thread.start()
    items = ready.get()
    count = 0
    while items.sync_q.get() is not None:
        count += 1
    finished.set()
    thread.join()
    return count
