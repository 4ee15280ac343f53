"""Worker processes on one store, and a proxy to them that cuts connections at any byte."""

import asyncio
import contextlib
import random
import signal
import socket
import struct
import subprocess
import sys
import threading

import httpx

from dual_mode_streaming.client import AsyncDualModeClient, Reconnect
from tests.conftest import ROOT

LEASE = 1.0
FLAGS = ("--lease", str(LEASE), "--entries", "400", "--heartbeat", "0.1", "--send-timeout", "1")

RECONNECT = Reconnect(attempts=60, delay=0.02, max_wait=3.0, wait_for_server=True)


class Worker:
    """One process of `tests.faults.app`."""

    def __init__(self, store: str, *flags: str) -> None:
        command = [sys.executable, "-m", "tests.faults.app", store, *flags]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._port = 0
        self._is_suspended = False
        self._started = threading.Event()
        self._starting = threading.Thread(target=self._read_port)
        self._starting.start()

    def _read_port(self) -> None:
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline() or 0)  # empty if the process has ended
        self._started.set()

    @property
    def port(self) -> int:
        """The port; waits until the worker listens. 0 if it ended before."""
        self._started.wait()
        return self._port

    @property
    def is_up(self) -> bool:
        """Whether the worker has started and is neither suspended nor ended."""
        is_started = self._started.is_set() and self._port > 0
        return is_started and not self._is_suspended and self._process.poll() is None

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def pause(self) -> None:
        """Suspend the process, as on an overloaded machine; it does not notice."""
        self._is_suspended = True
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._is_suspended = False

    def leave(self) -> None:
        """Shut the worker down gracefully."""
        self._process.terminate()
        self._process.wait(20)

    def kill(self) -> None:
        """Kill the process, as in a crash."""
        self._process.kill()
        self._process.wait(10)
        self._starting.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Cluster:
    """Workers on one store. A killed worker is replaced."""

    def __init__(self, store: str, count: int = 2) -> None:
        self.store = store
        self.workers = [Worker(self.store_of(number), *FLAGS) for number in range(count)]
        self.kills = 0

    def store_of(self, number: int) -> str:
        """Return the address of the store for one worker."""
        return self.store

    def all_up(self) -> list[Worker]:
        """Return the workers when all of them listen."""
        for number, worker in enumerate(self.workers):
            assert worker.port
            if worker.has_ended:  # it found no store when it started; a supervisor does the same
                self.replace(number)
                assert self.workers[number].port
        return self.workers

    def kill(self, *numbers: int) -> None:
        """Kill workers and start new ones in their place, without waiting for them."""
        for number in numbers:
            self.workers[number].kill()
            self.kills += 1
        for number in numbers:
            self.replace(number)

    def replace(self, number: int) -> None:
        """Start a new worker in the place of one."""
        self.workers[number].kill()
        self.workers[number] = Worker(self.store_of(number), *FLAGS)

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()


class Line:
    """A proxy to any worker that is up. It cuts connections at random.

    Args:
        cluster: the workers.
        mean: the mean number of bytes after which a connection is cut, by a reset or by a clean
            close; None for never.
        seed: of the random numbers.
    """

    def __init__(self, cluster: Cluster, mean: float | None = None, seed: int = 0) -> None:
        self.cuts = 0
        self._cluster = cluster
        self._mean = mean
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def drop(self, number: int = 1) -> None:
        """Reset some connections, chosen at random."""
        for writer in self._random.sample([*self._writers], min(number, len(self._writers))):
            if not writer.is_closing():
                reset(writer.get_extra_info("socket"))
                writer.transport.abort()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> "Line":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            up = [worker for worker in self._cluster.workers if worker.is_up]
            port = self._random.choice(up).port
            there, back = await asyncio.open_connection("127.0.0.1", port)
            self._writers.add(writer)
            try:
                await self._carry(reader, writer, there, back)
            finally:
                back.close()
        except (OSError, IndexError, asyncio.CancelledError):
            pass  # no worker is there any more
        finally:
            writer.close()
            self._writers.discard(writer)
            self._open.discard(task)

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        async def requests() -> None:
            while data := await reader.read(65536):
                back.write(data)
                await back.drain()
            back.close()

        forth = asyncio.create_task(requests())
        left = None if self._mean is None else int(self._random.expovariate(1 / self._mean))
        try:
            while data := await there.read(65536):
                if left is not None and len(data) >= left:
                    self.cuts += 1
                    writer.write(data[:left])
                    if self._random.random() < 0.5:
                        reset(writer.get_extra_info("socket"))
                    return
                writer.write(data)
                await writer.drain()
                left = None if left is None else left - len(data)
        finally:
            forth.cancel()
            await asyncio.gather(forth, return_exceptions=True)


def reset(sock: socket.socket) -> None:
    """Make `close` reset the connection, as after a crash."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def http_to(url: str) -> httpx.AsyncClient:
    """Return a client that keeps no connection. To load certificates would take 30 ms of CPU."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(
        base_url=url, timeout=httpx.Timeout(3, connect=20), limits=limits, verify=False
    )


class Reader:
    """Reads one stream with our client, to its end, and keeps the events.

    Attributes:
        seen: the ids and the data since the start, or since the last reset.
        ever: the ids and the data of all events, also before a reset.
        resets: the data of the `reset` events.
    """

    def __init__(self, url: str, path: str, **options: object) -> None:
        self.seen: list[tuple[str, str]] = []
        self.ever: list[tuple[str, str]] = []
        self.resets: list[dict[str, object]] = []
        self._changed = asyncio.Condition()
        self._http = http_to(url)
        self._client = AsyncDualModeClient(
            http_client=self._http, reconnect=RECONNECT, read_timeout=2.0
        )
        self.events = self._client.stream(path, on_reset=self._reset, **options)
        self._task = asyncio.create_task(self._run())

    @property
    def path(self) -> str:
        """The path of the recorded stream."""
        assert self.events.location is not None
        return "/streams/" + self.events.location.rpartition("/")[2]

    @property
    def data(self) -> list[str]:
        return [data for _, data in self.seen]

    @property
    def generation(self) -> int:
        """The generation of the last event."""
        return int(self.seen[-1][0].split(".")[1]) if self.seen else 0

    async def until(self, count: int = 0, *, generation: int = 0) -> "Reader":
        """Wait for `count` items and for that generation, or for the end; return itself."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: (
                    self._task.done() or (len(self.seen) >= count and self.generation >= generation)
                )
            )
        if self._task.done():
            self._task.result()
        return self

    async def ended(self) -> str | None:
        """Wait for the end of the stream; return its state."""
        await self._task
        return self.events.outcome

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._client.aclose()
        await self._http.aclose()

    def _reset(self, reset: dict[str, object]) -> None:
        self.resets.append(reset)
        self.seen.clear()

    async def _run(self) -> None:
        try:
            async with contextlib.aclosing(aiter(self.events)) as events:
                async for event in events:
                    async with self._changed:
                        self.seen.append((event.id or "", event.data))
                        self.ever.append(self.seen[-1])
                        self._changed.notify_all()
        finally:
            async with self._changed:
                self._changed.notify_all()
