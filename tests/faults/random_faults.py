"""Random faults of one store and its workers: cheap ones all the time, and severe ones in turn."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from .cluster import StoreCluster
from .workers import LEASE, Line
from .writer import WriterProcess

Fault = Callable[[], Awaitable[None]]


class RandomFaults:
    """The faults; `counts` has how many of each kind there were.

    Args:
        stage: the workers and their store.
        line: where the connections of the readers are cut.
        writer: a process that publishes to channels.
        steady: held by whoever must not see a loss now.
        dice: random numbers.
        pause: the mean pause between two cheap faults.
    """

    def __init__(
        self,
        stage: StoreCluster,
        line: Line,
        writer: WriterProcess,
        steady: asyncio.Lock,
        dice: random.Random,
        pause: float = 0.1,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._stopped = False
        self._stage, self._line, self._writer = stage, line, writer
        self._steady, self._dice, self._pause = steady, dice, pause

    @property
    def cheap(self) -> list[Fault]:
        """Those that last for milliseconds."""
        found = [self.reset, self.reset, self.blink]
        found += [self.drop, self.drop] if self._stage.proxies else []
        return found + ([self.deafen] if self._stage.redis is not None else [])

    @property
    def severe(self) -> list[Fault]:
        """Those after which something starts again."""
        found = [self.kill, self.kill, self.kill_writer, self.suspend, self.slow, self.leave]
        if self._stage.replicated is None:
            found.append(self.restart)
        found += [self.partition] * 2 if self._stage.proxies else []
        return found + ([self.lose] if self._stage.redis is not None else [])

    def stop(self) -> None:
        """Let `run` end, when all that was disturbed is as it was."""
        self._stopped = True

    async def run(self) -> None:
        """Cause them until it is stopped."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._cause(self.cheap, self._pause))
            tasks.create_task(self._cause(self.severe, 10 * self._pause))

    async def _cause(self, faults: list[Fault], pause: float) -> None:
        while not self._stopped:
            await asyncio.sleep(self._dice.expovariate(1 / pause))
            fault = self._dice.choice(faults)
            if fault == self.lose and self._steady.locked():
                continue
            await fault()
            self.counts[fault.__name__] += 1

    async def reset(self) -> None:
        """Reset the connection of a reader."""
        self._line.drop()

    async def drop(self) -> None:
        """Reset all connections between a worker and its Redis."""
        self._dice.choice(self._stage.proxies).drop()

    async def blink(self) -> None:
        """Stop a worker for milliseconds."""
        worker = self._dice.choice([w for w in self._stage.workers if w.is_up] or [None])
        if worker is not None:
            worker.pause()
            try:
                await asyncio.sleep(self._dice.uniform(0.001, 0.05))
            finally:
                worker.wake()

    async def deafen(self) -> None:
        """Close the connections that wait for notifications."""
        if self._stage.redis is not None:
            with contextlib.suppress(OSError):  # it is down
                await asyncio.to_thread(self._stage.redis.ask, "CLIENT KILL TYPE pubsub")

    async def kill(self) -> None:
        """Kill a worker."""
        self._stage.kill(self._dice.randrange(len(self._stage.workers)))
        await asyncio.to_thread(self._stage.all_up)

    async def kill_writer(self) -> None:
        """Kill the process that publishes."""
        await self._writer.kill()

    async def leave(self) -> None:
        """Shut a worker down, and start another."""
        number = self._dice.randrange(len(self._stage.workers))
        await asyncio.to_thread(self._stage.workers[number].leave)
        self._stage.replace(number)
        await asyncio.to_thread(self._stage.all_up)

    async def suspend(self) -> None:
        """Stop a worker, perhaps for longer than its leases last."""
        worker = self._dice.choice(self._stage.workers)
        await asyncio.to_thread(self._stage.suspend, worker)
        try:
            await asyncio.sleep(self._dice.uniform(0.2, 2.5) * LEASE)
        finally:
            worker.wake()

    async def partition(self) -> None:
        """Let nothing through between a worker and its Redis, perhaps for longer than a lease."""
        with self._dice.choice(self._stage.proxies).partition():
            await asyncio.sleep(self._dice.uniform(0.1, 2.5) * LEASE)

    async def slow(self) -> None:
        """Let the store take no writes for a while."""

        def slow() -> None:
            with self._stage.slow(self._dice.uniform(0.1, 0.4)):
                pass

        await asyncio.to_thread(slow)

    async def restart(self) -> None:
        """Crash the store, and start it again."""
        await asyncio.to_thread(self._stage.restart)
        await asyncio.to_thread(self._stage.all_up)

    async def lose(self) -> None:
        """Let the store lose its last entries: its log is cut short, or a replica lags behind."""
        async with self._steady:
            await asyncio.to_thread(self._stage.mark)
            await asyncio.sleep(self._dice.uniform(0.05, 0.5))
            await asyncio.to_thread(self._stage.lose_the_rest)
