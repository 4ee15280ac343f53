"""One channel with two writers and three readers, compared at its end with what it holds."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from uuid import uuid4

import httpx

from .cluster import StoreCluster
from .workers import Line, Reader, http_to
from .writer import PAUSE, WriterProcess, message

MARGIN = 1.0
"""Seconds by which a message may be acknowledged after the store took it."""


class ChannelRun:
    """A process writes with keys, and the tests as a producer over HTTP; all by cut connections.

    Args:
        stage: the workers.
        line: to any of them.
        writer: the process, which others kill.
        steady: held while nothing may be lost that has been read: at the end.
        dice: random numbers.
        count: how many messages each writer publishes; by chance if None.
    """

    def __init__(
        self,
        stage: StoreCluster,
        line: Line,
        writer: WriterProcess,
        steady: asyncio.Lock,
        dice: random.Random,
        count: int | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.name = f"chaos/{uuid4().hex}"
        self.readers: list[Reader] = []
        self._stage, self._line, self._writer, self._steady = stage, line, writer, steady
        self._count = count or dice.randrange(40, 200)
        self._dice = dice
        self._posted: list[float] = []

    async def run(self, *faults: Callable[[], Awaitable[None]]) -> None:
        """Publish, read, close, compare, and delete. Each fault comes amid some messages."""
        path = f"/channels/{self.name}"
        async with contextlib.AsyncExitStack() as stack:

            def read(url: str) -> Reader:
                reader = Reader(url, path)
                stack.push_async_callback(reader.aclose)
                return reader

            tasks = [asyncio.create_task(self._publish(*faults))]
            stack.callback(tasks[0].cancel)
            await self._writer.until(self.name, 1)
            tasks.append(asyncio.create_task(self._post()))
            stack.callback(tasks[1].cancel)
            self.readers += [read(self._line.url), read(self._line.url)]
            await self._writer.until(self.name, self._dice.randrange(1, self._count))
            self.readers.append(read(self._line.url))
            await asyncio.gather(*tasks)
            async with self._steady:
                await self._ask("POST", headers={"stream-closed": "true"}, good={200, 204})
                for reader in self.readers:
                    await reader.ended()
                truth = read(self._line.url)
                await truth.ended()
            self._check(truth)
            self._check_ids([*self.readers, truth])
            await self._ask("DELETE", good={200, 204, 404})

    async def all_is_read(self) -> None:
        """Wait until the first reader has what is acknowledged now, if nothing was lost before."""
        while not self.readers:
            await asyncio.sleep(0)
        count = len(self._writer.acknowledged[self.name]) + len(self._posted)
        await self.readers[0].until(count)

    async def _publish(self, *faults: Callable[[], Awaitable[None]]) -> None:
        """Let the process publish all, a part of it about each fault."""
        for number, fault in enumerate(faults, 1):
            part = self._count * number // (len(faults) + 1)
            publishing = asyncio.create_task(self._writer.publish(self.name, part))
            await self._writer.until(self.name, part - 5)
            await fault()
            await publishing
        await self._writer.publish(self.name, self._count)

    async def _post(self) -> None:
        """Publish over HTTP. A producer whose last number is lost begins another epoch."""
        epoch = sequence = 0
        for number in range(self._count):
            while True:
                headers = {"producer-id": "http", "producer-epoch": str(epoch)}
                headers |= {"producer-seq": str(sequence), "content-type": "application/json"}
                body = json.dumps([message("http", number)])
                good = {200, 204, 400, 403, 404, 409}
                answer = await self._ask("POST", good=good, headers=headers, content=body)
                if answer.status_code < 300:
                    break
                if not self._stage.losses:
                    raise AssertionError(f"{answer.status_code} {answer.text}")
                self.counts["told"] += 1
                epoch, sequence = epoch + 1, 0
                if answer.status_code == 404:
                    made = {"content-type": "application/json"}
                    await self._ask("PUT", good={200, 201, 409}, headers=made)
            sequence += 1
            self._posted.append(asyncio.get_running_loop().time())
            await asyncio.sleep(PAUSE)

    async def _ask(
        self,
        method: str,
        *,
        good: set[int],
        headers: dict[str, str] | None = None,
        content: str = "",
    ) -> httpx.Response:
        """Send a request until it has an answer that is none of a server in trouble."""
        async with http_to(self._line.url) as http:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    path = f"/channels/{self.name}"
                    answer = await http.request(method, path, headers=headers, content=content)
                    if answer.status_code in good:
                        return answer
                    if answer.status_code < 500:
                        raise AssertionError(f"{method}: {answer.status_code} {answer.text}")
                await asyncio.sleep(0.05)

    def _check(self, truth: Reader) -> None:
        """All readers have what there is; and there is what was acknowledged, once and in order."""
        held = [json.loads(data) for data in truth.data]
        acknowledged = {"process": self._writer.acknowledged[self.name], "http": self._posted}
        for writer, times in acknowledged.items():
            numbers = [each["n"] for each in held if each["writer"] == writer]
            self.counts["duplicated"] += len(numbers) - len(set(numbers))
            self.counts["reordered"] += sum(b < a for a, b in pairwise(numbers))
            for number in set(range(self._count)) - set(numbers):
                at = times[number]
                if any(begin <= at <= end + MARGIN for begin, end in self._stage.losses):
                    self.counts["lost with the store"] += 1
                else:
                    self.counts["lost"] += 1
                    self.problems.append(f"{self.name}: {writer} {number} is not there")
        self.counts["altered"] += sum(each != message(each["writer"], each["n"]) for each in held)
        for reader in self.readers:
            self.counts["events"] += len(reader.seen)
            self.counts["dropped"] += reader.events.duplicates
            self.counts["told"] += len(reader.resets)
            if reader.resets and not self._stage.losses:
                self.problems.append(f"{self.name}: {reader.resets} though nothing was lost")
            if reader.seen != truth.seen:
                missing = [pair for pair in truth.seen if pair not in reader.seen]
                more = [pair for pair in reader.seen if pair not in truth.seen]
                self.counts["lost"] += len(missing)
                self.counts["duplicated"] += len(reader.seen) - len(set(reader.seen))
                self.problems.append(
                    f"{self.name}: a reader lacks {missing[:3]} ({len(missing)}), has"
                    f" {more[:3]} ({len(more)}) beside {len(truth.seen)}; {reader.resets}"
                )

    def _check_ids(self, readers: list[Reader]) -> None:
        """An id stands for one message, whoever read it, and whenever."""
        known: dict[str, str] = {}
        for reader in readers:
            for id, data in reader.ever:
                if known.setdefault(id, data) != data:
                    self.counts["altered"] += 1
                    self.problems.append(f"{self.name}: {id} is {known[id]} and {data}")
