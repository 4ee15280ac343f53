"""A process that publishes to channels, to be killed: `python -m tests.faults.writer STORE`.

A line of its stdin is `channel first last`: it publishes these numbers, each with a key. A line of
its stdout is `channel number`: the store has it.
"""

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

from dual_mode_streaming import Channel
from dual_mode_streaming.errors import StoreError
from tests.conftest import ROOT

PAUSE = 0.01


def message(writer: str, number: int) -> dict[str, Any]:
    return {"writer": writer, "n": number, "text": "é→𝄞" * (number % 9)}


class WriterProcess:
    """The process, seen from outside. One that is killed is replaced, and repeats what it must.

    Attributes:
        acknowledged: for each channel, the time at which each number was acknowledged.
    """

    def __init__(self, store: str) -> None:
        self.acknowledged: dict[str, list[float]] = {}
        self.kills = 0
        self._store = store
        self._due: dict[str, int] = {}
        self._changed = asyncio.Condition()
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        program = [sys.executable, "-m", "tests.faults.writer", self._store]
        pipe = subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *program, stdin=pipe, stdout=pipe, cwd=ROOT
        )
        self._following = asyncio.create_task(self._follow(self._process))
        for channel in self._due:
            self._send(channel)

    async def publish(self, channel: str, count: int) -> None:
        """Publish the numbers below `count`, in order, and wait until the store has all."""
        self._due[channel] = count
        self.acknowledged.setdefault(channel, [])
        self._send(channel)
        try:
            await self.until(channel, count)
        finally:
            del self._due[channel]

    async def until(self, channel: str, count: int) -> None:
        """Wait until the store has so many messages of the channel."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.acknowledged.get(channel, ())) >= count)

    def _send(self, channel: str) -> None:
        first, last = len(self.acknowledged[channel]), self._due[channel]
        assert self._process.stdin is not None
        self._process.stdin.write(f"{channel} {first} {last}\n".encode())

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            channel, number = line.decode().split()
            async with self._changed:
                times = self.acknowledged[channel]
                assert int(number) == len(times)
                times.append(time.monotonic())
                self._changed.notify_all()

    async def kill(self) -> None:
        """Kill the process in the middle of what it does, and start another."""
        await self.close()
        self.kills += 1
        await self.start()

    async def close(self) -> None:
        if self._following is not None:
            self._process.kill()
            await self._process.wait()
            await self._following  # what it had acknowledged
            self._following = None


async def publish(channel: str, first: int, last: int) -> None:
    to = Channel(channel, dict[str, Any], store=sys.argv[1])
    for number in range(first, last):
        while True:
            try:
                await to.publish(message("process", number), key=str(number))
                break
            except StoreError:
                await asyncio.sleep(0.1)
        os.write(1, f"{channel} {number}\n".encode())
        await asyncio.sleep(PAUSE)


async def main() -> None:
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as tasks:
        async for line in reader:
            channel, first, last = line.decode().split()
            tasks.create_task(publish(channel, int(first), int(last)))


if __name__ == "__main__":
    asyncio.run(main())
