"""Readers of every kind, each of one stream: what they were given is compared with what is due."""

import asyncio
import contextlib
import json
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from uuid import uuid4

import httpx

from dual_mode_streaming.testing import read_events
from tests.faults.checks import differences
from tests.faults.front_ends import answer_to, front_end
from tests.faults.workers import Line, Reader, http_to, reset

from .observed import ObservedService

EVENTS = {"accept": "text/event-stream"}
LINES = {"accept": "application/jsonl"}
PATIENCE = 60
"""Seconds after which a stream counts as one that does not end."""


class Readers:
    """They read from either worker, or through the line, which cuts them."""

    def __init__(self, workers: list[ObservedService], line: Line, dice: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._workers = workers
        self._line = line
        self._dice = dice

    @property
    def kinds(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """One of each."""
        return [
            self.batch,
            self.stream,
            self.lines,
            self.slow,
            self.feed,
            self.cut,
            self.stalled,
            self.chat,
            self.stopped_chat,
            self.openai_chat,
            self.channel,
            self.front_end,
        ]

    async def one(self, kind: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Of that kind, or of any. What goes wrong is a problem, and raises nothing."""
        kind = kind or self._dice.choice(self.kinds)
        self.counts["streams"] += 1
        self.counts[kind.__name__] += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await kind()
        except Exception as error:
            self.problems.append(f"{kind.__name__}: {error!r}")

    def _compare(self, given: list[int], due: int, first: int = 0) -> None:
        self.counts["events"] += len(given)
        self.counts.update(differences(given, due, first))

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[httpx.AsyncClient]:
        url = self._dice.choice(self._workers).url
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            yield http

    def _data(self, most: int = 400) -> tuple[int, str]:
        count = self._dice.randrange(1, most)
        return count, f"/data?count={count}&interval={self._dice.choice(['0', '0.001', '0.005'])}"

    async def batch(self) -> None:
        """A document."""
        count, path = self._data()
        async with self._asking() as http:
            items = (await http.get(path)).raise_for_status().json()["data"]
        self._compare([item["index"] for item in items], count)

    async def stream(self, pause: float = 0, most: int = 400) -> None:
        """Events, to the end."""
        count, path = self._data(most)
        async with self._asking() as http, http.stream("GET", path, headers=EVENTS) as answer:
            events = []
            async for event in read_events(answer):
                events.append(event)
                await asyncio.sleep(pause)
        if events[-1].event != "done":
            self.problems.append(f"{path} ended as {events[-1]}")
        self._compare([json.loads(event.data)["index"] for event in events[:-1]], count)

    async def slow(self) -> None:
        """Events, by one who takes his time for each."""
        await self.stream(
            pause=0.02, most=60
        )  # few: each is a turn of a loop that others load, too

    async def lines(self) -> None:
        """JSON Lines, to the end."""
        count, path = self._data()
        async with self._asking() as http, http.stream("GET", path, headers=LINES) as answer:
            items = [json.loads(line) async for line in answer.aiter_lines()]
        self._compare([item["index"] for item in items], count)

    async def feed(self) -> None:
        """Some of a feed, and then he leaves."""
        times: list[float] = []
        async with self._asking() as http, http.stream("GET", "/events", headers=EVENTS) as answer:
            async with contextlib.aclosing(read_events(answer)) as events:
                async for event in events:
                    times.append(json.loads(event.data)["time"])
                    if len(times) == 3:
                        break
        order = sorted(set(times))
        self._compare([order.index(at) for at in times], 3)

    async def _raw(self, path: str) -> socket.socket:
        port = self._dice.choice(self._workers).port
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", port))
        accept = self._dice.choice([EVENTS, LINES])["accept"]
        request = f"GET {path} HTTP/1.1\r\nHost: test\r\nAccept: {accept}\r\n\r\n"
        await loop.sock_sendall(sock, request.encode())
        return sock

    async def cut(self) -> None:
        """He vanishes by a reset, somewhere; from a stream that waits, or one that is fast."""
        interval = self._dice.choice(["0", "0.01", "3600"])
        with await self._raw(f"/data?count=1000000000&interval={interval}") as sock:
            loop = asyncio.get_running_loop()
            left = self._dice.randrange(1, 200 if interval == "3600" else 3000)
            while left > 0:
                data = await loop.sock_recv(sock, left)
                assert data, "it has ended before it was cut"
                left -= len(data)
            reset(sock)
        self.counts["cuts"] += 1

    async def stalled(self) -> None:
        """He takes nothing, until the server has enough of it."""
        with await self._raw("/data?count=1000000000&interval=0") as sock:
            while not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                await asyncio.sleep(0.1)  # an event loop can wait for what can be read; there is
        self.counts["stalls"] += 1

    def _question(self) -> dict[str, object]:
        """One of a hundred: the caches of the simulator, which have a bound, are soon full."""
        number = self._dice.randrange(100)
        return {"messages": [{"role": "user", "content": f"Tell me of number {number}."}]}

    async def chat(self) -> None:
        """A recorded answer over connections that are cut, by one who comes again each time."""
        reader = self._begin_chat()
        try:
            outcome = await reader.ended()
            whole = await self._whole(reader.path)
        finally:
            await reader.aclose()
        if outcome != "done" or reader.resets:
            self.problems.append(f"{reader.path} ended as {outcome}, {reader.resets}")
        self._compare(_sequence([id for id, _ in reader.seen]), len(whole) - 1, first=1)
        self.counts["altered"] += sum(pair not in whole for pair in reader.seen)
        self.counts["returns"] += reader.events.reconnects

    async def stopped_chat(self) -> None:
        """A recorded answer that is stopped in its midst, perhaps by way of the other worker."""
        reader = self._begin_chat()
        try:
            await reader.until(5)
            async with self._asking() as http:
                (await http.post(f"{reader.path}/cancel")).raise_for_status()
            outcome = await reader.ended()
            whole = await self._whole(reader.path)
        finally:
            await reader.aclose()
        if outcome not in ("cancelled", "done"):  # it may have been at its end
            self.problems.append(f"{reader.path} ended as {outcome}")
        self._compare(_sequence([id for id, _ in reader.seen]), len(whole) - 1, first=1)

    def _begin_chat(self) -> Reader:
        options = {"method": "POST", "json": self._question()}
        return Reader(
            self._line.url, "/chat?stream=true", headers={"idempotency-key": uuid4().hex}, **options
        )

    async def _whole(self, path: str) -> list[tuple[str, str]]:
        async with self._asking() as http, http.stream("GET", path, headers=EVENTS) as answer:
            return [(event.id or "", event.data) async for event in read_events(answer)]

    async def openai_chat(self) -> None:
        """The format of OpenAI: the stream says what the document says."""
        question = {"model": "simulator", **self._question()}
        path, said = "/v1/chat/completions", ""
        async with self._asking() as http:
            document = (await http.post(path, json=question)).raise_for_status().json()
            body = {**question, "stream": True}
            async with http.stream("POST", path, json=body) as answer:
                events = [event async for event in read_events(answer)]
        for event in events[:-1]:
            for choice in json.loads(event.data)["choices"]:
                said += choice["delta"].get("content") or ""
        self.counts["events"] += len(events)
        if events[-1].data != "[DONE]" or said != document["choices"][0]["message"]["content"]:
            self.problems.append(f"{path}: {said!r}, not {document}; then {events[-1]}")

    async def channel(self) -> None:
        """One that is created, written and read by way of both workers, closed and removed."""
        count, path = self._dice.randrange(1, 60), f"/channels/soak/{uuid4().hex}"
        kind = {"content-type": "application/json"}
        async with self._asking() as http, self._asking() as other:
            (await http.put(path, headers=kind)).raise_for_status()
            reader = Reader(self._line.url, path)
            try:
                for number in range(count):
                    sent = await other.post(path, headers=kind, content=str(number))
                    sent.raise_for_status()
                (await http.post(path, headers={"stream-closed": "true"})).raise_for_status()
                outcome = await reader.ended()
            finally:
                await reader.aclose()
            (await other.delete(path)).raise_for_status()
        if outcome != "done" or reader.resets:
            self.problems.append(f"{path} ended as {outcome}, {reader.resets}")
        self._compare([int(data) for data in reader.data], count)

    async def front_end(self) -> None:
        """useChat, AG-UI, or a response in the background, over connections that are cut."""
        stream = front_end(self._dice)
        expected, stops = await answer_to(stream.question), self._dice.random() < 0.2
        while not stream.ended:
            with contextlib.suppress(httpx.HTTPError):
                async with (
                    http_to(self._line.url) as http,
                    http.stream(**stream.request()) as answer,
                ):
                    if answer.status_code == 204:
                        stream.missing(204)
                        continue
                    answer.raise_for_status()
                    async for event in read_events(answer):
                        stream.take(event)
                        if stops and len(stream.text) > 20:
                            stops = False
                            await http.post(stream.stop())
            self.counts["returns"] += 1
        due = expected if stream.ended == "whole" else expected[: len(stream.text)]
        if stream.wrong or stream.ended == "failed" or stream.text != due:
            name = type(stream).__name__
            self.problems.append(f"{name} {stream.ended}: {stream.text!r}; {stream.wrong}")
        self.counts["events"] += 1


def _sequence(ids: list[str]) -> list[int]:
    return [int(id.split(".")[2]) for id in ids]
