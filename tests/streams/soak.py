"""Random pipelines with random ends, for a given time; anything left over is an error.

    python -m tests.streams.soak [SECONDS] [SEED]

A pipeline is a tree of operators over sources that yield, suspend, sleep, fail, cancel themselves
or never end. Its reader reads to the end, leaves early, fails, is cancelled, or drops the stream.
Each round runs 200 pipelines at once in a new event loop, and some through a bridge. After it no
task, thread, generator or open source may be left, and the loop's exception handler must not have
been called.
"""

import asyncio
import gc
import logging
import random
import sys
import threading
import time
import types
from collections import Counter

import uvloop

from dual_mode_streaming import streams
from dual_mode_streaming.bridges import from_sync, iterate_sync, shared_loop
from dual_mode_streaming.streams import Broadcast, Overflow, Processor, each

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
PIPELINES = 200  # a round


class Failure(Exception):
    """The error that sources and readers raise."""


@Processor
async def same(stream):
    async for item in stream:
        yield item


@Processor
async def leaves(stream):
    number = 0
    async for item in stream:
        yield item
        if (number := number + 1) == 3:
            return


@each(concurrency=3)
async def twice(item):
    yield item
    await asyncio.sleep(0)
    yield item


def open_generators():
    generators = [o for o in gc.get_objects() if isinstance(o, types.AsyncGeneratorType)]
    return [generator for generator in generators if generator.ag_frame is not None]


class Soak:
    """One run: its random generator, and counts of what was opened and closed."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.counts = Counter()
        gc.collect()
        self.before = {id(g) for g in open_generators()}
        self.threads = {thread.name for thread in threading.enumerate()}

    async def source(self):
        self.counts["sources opened"] += 1
        try:
            for number in range(self.dice.choice([0, 1, 5, 50, 100_000])):
                match self.dice.random():
                    case r if r < 0.05:
                        await asyncio.sleep(self.dice.random() / 200)
                    case r if r < 0.3:
                        await asyncio.sleep(0)
                    case r if r < 0.31:
                        raise Failure
                    case r if r < 0.312:
                        asyncio.current_task().cancel()
                        await asyncio.sleep(0)
                yield None if number % 7 == 6 else number
        finally:
            try:
                await asyncio.sleep(0)
            finally:
                self.counts["sources closed"] += 1

    def plain(self):
        return streams.stream_content(range(self.dice.randrange(20)))

    def blocking(self):
        return from_sync(range(self.dice.randrange(20)))

    def pipeline(self, depth):
        """Return a random stream."""
        if depth == 0:
            kind = self.dice.choice([self.source, self.source, self.plain, self.blocking])
            return kind()
        below = [self.pipeline(depth - 1) for _ in range(self.dice.choice([1, 1, 2, 3]))]
        maxsize = self.dice.choice([1, 2, 64])
        overflow = self.dice.choice(list(Overflow))
        if len(below) > 1:
            combine = self.dice.choice([streams.merge, streams.concat])
            return combine(below, maxsize=maxsize)
        make = self.dice.choice(
            [
                lambda s: streams.buffer(s, maxsize, overflow=overflow),
                lambda s: streams.map(s, lambda item: item),
                lambda s: streams.take(s, 10),
                lambda s: streams.batched(s, 3, 0.001),
                lambda s: streams.idle_timeout(s, 0.05),
                lambda s: streams.heartbeat(s, 0.002, str),
                lambda s: streams.deadline(s, 0.02),
                lambda s: streams.pace(s, 0.001),
                lambda s: streams.throttle(s, 0.001),
                lambda s: streams.merge(streams.split(s, 3, maxsize=maxsize, overflow=overflow)),
                lambda s: streams.merge(*self.subscribers(s, maxsize, overflow)),
                same + leaves,
                same // leaves,
                twice,
            ]
        )
        return make(below[0])

    def subscribers(self, stream, maxsize, overflow):
        cast = Broadcast(stream, maxsize=maxsize, overflow=overflow, stop_after_last=True)
        return [cast.subscribe() for _ in range(self.dice.choice([1, 5]))]

    async def read(self, stream, limit):
        """Read in a random way: to the end, early exit, error, or drop without closing."""
        if self.dice.random() < 0.1:
            async for _ in stream:
                break
            return
        async with stream if hasattr(stream, "__aexit__") else streams.map(stream, str) as items:
            number = 0
            async for _ in items:
                self.counts["items"] += 1
                if (number := number + 1) == limit:
                    if self.dice.random() < 0.3:
                        raise Failure
                    return

    async def play(self):
        """Run one reader of one pipeline, and sometimes cancel it."""
        limit = self.dice.choice([1, 3, 20, 2000])
        reader = asyncio.create_task(self.read(self.pipeline(self.dice.randrange(4)), limit))
        if self.dice.random() < 0.4:
            for _ in range(self.dice.choice([0, 1, 2, 10, 100])):
                await asyncio.sleep(0)
            reader.cancel()
        await asyncio.wait([reader])
        self.counts["cancelled" if reader.cancelled() else "pipelines"] += 1
        if not reader.cancelled() and (error := reader.exception()) is not None:
            expected = (Failure, TimeoutError, streams.StreamError)
            if not isinstance(error, (*expected, asyncio.CancelledError)):
                raise error

    def bridge(self):
        loop = shared_loop() if self.dice.random() < 0.5 else None
        limit = self.dice.choice([1, 20, 2000])
        try:
            with iterate_sync(self.pipeline(1), 4, loop=loop) as items:
                for number, _ in enumerate(items):
                    if number == limit:
                        break
        except (Failure, TimeoutError, streams.StreamError, asyncio.CancelledError):
            pass
        self.counts["bridges"] += 1

    def round(self):
        complaints = []
        log = logging.getLogger("dual_mode_streaming")
        log.addFilter(lambda record: complaints.append(record) or True)

        async def program():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(context))
            async with asyncio.timeout(60):
                await asyncio.gather(*(self.play() for _ in range(PIPELINES)))
            gc.collect()
            for _ in range(1000):
                if len(asyncio.all_tasks()) == 1:
                    break
                await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks are left: {left}"

        with asyncio.Runner(loop_factory=self.dice.choice(LOOPS)) as runner:
            runner.run(program())
        log.filters.clear()
        assert not complaints, complaints
        for _ in range(5):
            self.bridge()

    def check(self):
        """Assert that nothing is left of any round."""
        gc.collect()
        assert self.counts["sources opened"] == self.counts["sources closed"], self.counts
        left = [g for g in open_generators() if id(g) not in self.before]
        assert not left, f"generators are left: {left[:5]}"
        for thread in threading.enumerate():
            if thread.name.startswith("from_sync"):  # its iterator is closed: it ends
                thread.join(10)
        names = {thread.name for thread in threading.enumerate()} - self.threads
        assert names <= {"shared-loop-thread"}, names


def soak(seconds, seed):
    """Run rounds until the time is up, at least one. Return the counts."""
    run = Soak(seed)
    end = time.monotonic() + seconds
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        run.round()
        run.check()
        rounds += 1
    run.counts["rounds"] = rounds
    return run.counts


if __name__ == "__main__":
    length = float(sys.argv[1]) if len(sys.argv) > 1 else 600
    number = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    print(f"seed {number}, {length:g} s", flush=True)
    for name, count in soak(length, number).items():
        print(f"{count:12,} {name}")
