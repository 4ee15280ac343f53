"""Streams in Redis: any number of processes and machines share them."""

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import islice
from typing import Any, Final

from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores._base import (
    AppendResult,
    Entry,
    Limits,
    NewStream,
    StoreError,
    StoreFull,
    StreamInfo,
    check_stream,
)
from dual_mode_streaming.stores._redis_connection import Link
from dual_mode_streaming.stores._redis_pubsub import PubSub

__all__ = ["RedisStore"]

_PREFIX: Final = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_WATCHDOG: Final = 5.0
_NOTES_EVERY: Final = 1.0
_AT_ONCE: Final = 1000
_PATIENCE: Final = 0.02
_LARGEST: Final = 2**53  # the whole numbers of Lua end here


class RedisStore:
    """Streams in one Redis (6.2 or newer), shared by all who give the same address and prefix.

    `url` is `redis://`, `rediss://` or `unix://`, with all options of redis-py in its query. A call
    that has taken `timeout` seconds, with its retries, raises StoreError. Nothing is connected
    before the first call. One `RedisStore` has at most 16 connections (`max_connections` in the
    URL), and one more while anybody listens.

    What is acknowledged is as durable as that Redis is: with `appendonly yes` it survives a crash
    of the process, with `appendfsync always` a power cut; without either it does not survive its
    restart. A replica may lack the last entries. What was lost so is noticed: AppendResult.GAP.

    `streams` and `total_bytes` of the limits are kept to roughly: what is appended counts within a
    second or so. Keys expire, so that nothing is left for ever of a stream that everybody forgot.
    """

    shared = True

    def __init__(
        self,
        url: str,
        limits: Limits | None = None,
        *,
        prefix: str = "dual-mode",
        timeout: float = 5.0,
    ) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(f"a prefix is letters, digits and any of _.:-, not {prefix!r:.80}")
        self.limits = limits or Limits()
        self._link = Link(url, prefix, timeout)
        self._pubsub = PubSub(self._link.pool, self._link.channel(""), _WATCHDOG)
        self._lease = max(1, round(self.limits.lease * 1000))
        self._retention = max(1, round(self.limits.retention * 1000))
        self._notes: dict[str, tuple[str, str, str]] = {}
        self._noted = 0.0
        self._noting = asyncio.Lock()

    async def create(self, new: NewStream, idempotency_key: str | None = None) -> str:
        """See `Store.create`. The stream is made before it is claimed: a claim never waits."""
        name = (
            hashlib.sha256(idempotency_key.encode()).hexdigest()
            if idempotency_key is not None
            else ""
        )
        dangling = ""
        if idempotency_key is not None:
            dangling = str(await self._link.of_all("CLAIMED", name), "ascii")
            if dangling and await self._is_kept(dangling):
                return dangling
        lease = await self._link.of(
            "MAKE", new.stream, self._lease, self._retention,
            new.operation, new.owner, new.fingerprint, new.request,
        )  # fmt: skip
        await self._write_notes()
        bounds = self.limits.streams, int(self.limits.total_bytes)
        healed = False
        while True:
            entered = await self._link.of_all("ENTER", new.stream, lease, *bounds, name, dangling)
            match entered:
                case [b"CLAIMED", other]:
                    dangling = str(other, "ascii")
                    if await self._is_kept(dangling):
                        await self._link.of("FORGET", new.stream, self._link.channel(new.stream), 1)
                        return dangling
                case [b"FULL", b"", streams, size] if healed:
                    await self._link.of("FORGET", new.stream, self._link.channel(new.stream), 1)
                    bound = f"{streams} streams and {size} bytes"
                    raise StoreFull(f"the store has {bound}, and all of them are running")
                case [b"FULL", b"", *_]:
                    healed = True
                    await self.abandoned()  # some may be gone, and the index does not know
                case [b"FULL", oldest, *_]:
                    await self._forget(oldest.decode(), running=False)
                case _:
                    return new.stream

    async def append(
        self,
        stream: str,
        generation: int,
        first: int,
        payloads: Sequence[bytes],
        *,
        end: EndState | None = None,
    ) -> AppendResult:
        """See `Store.append`."""
        limits = self.limits
        told = await self._link.of(
            "APPEND", stream, generation, first, end or "", self._lease, self._retention,
            int(limits.stream_entries), int(limits.stream_bytes), self._link.channel(stream),
            *payloads, patience=0 if payloads or end else _PATIENCE,
        )  # fmt: skip
        verdict = AppendResult[told[0].decode()]
        if len(told) == 3 and (payloads or end):
            self._notes[stream] = (end or "running", told[1].decode(), told[2].decode())
            late = asyncio.get_running_loop().time() - self._noted > _NOTES_EVERY
            if end or late:
                with suppress(StoreError):  # the entries are kept; the notes are tried again
                    await self._write_notes()
        return verdict

    async def read(
        self, stream: str, after: int, *, entries: int = 1000, size: int = 1024 * 1024
    ) -> list[Entry]:
        """See `Store.read`."""
        told = iter(
            await self._link.of("READ", stream, min(max(0, after), _LARGEST), entries, size)
        )
        return [
            Entry(int(generation), int(sequence.partition(b"-")[0]), payload)
            for sequence, generation, payload in zip(told, told, told, strict=True)
        ]

    async def info(self, stream: str) -> StreamInfo | None:
        """See `Store.info`."""
        told = await self._link.of("STATUS", stream, self._retention, 1)
        if told is None:
            return None
        left, state, _, _, head, earliest, generations, cancelling, expired = told[:9]
        operation, owner, fingerprint = (value.decode() for value in told[9:12])
        return StreamInfo(
            new=NewStream(
                stream=stream,
                operation=operation,
                owner=owner,
                fingerprint=fingerprint,
                request=told[12],
            ),
            state=state.decode(),
            head=int(head),
            earliest=int(earliest),
            generations=_generations(generations),
            cancelling=bool(cancelling),
            lease=int(left) / 1000,
            expired=bool(expired),
        )

    async def cancel(self, stream: str) -> None:
        """See `Store.cancel`."""
        await self._link.of("CANCEL", stream, self._link.channel(stream))

    async def take_over(self, stream: str) -> int | None:
        """See `Store.take_over`. Its own retries get the same generation."""
        told = await self._link.of(
            "TAKE_OVER", stream, self._lease, self._retention, secrets.token_hex(8)
        )
        if told is None:
            return None
        self._notes[stream] = ("running", told[1].decode(), told[2].decode())
        with suppress(StoreError):
            await self._write_notes()
        return int(told[0])

    async def abandoned(self) -> list[str]:
        """See `Store.abandoned`. The index is put right where it was wrong."""
        due = [stream.decode() for stream in await self._link.of_all("DUE", _AT_ONCE)]
        if not due:
            return []
        found = []
        for stream, told in zip(
            due, await self._link.of_each("STATUS", due, self._retention, 0), strict=True
        ):
            if told is not None and told[1] == b"running" and int(told[0]) <= 0:
                found.append(stream)
            else:
                self._note(stream, told)
        await self._write_notes()
        return found

    async def delete(self, stream: str) -> None:
        """See `Store.delete`."""
        await self._forget(check_stream(stream), running=True)

    @asynccontextmanager
    async def subscribe(self, stream: str, on_change: Callable[[], None]) -> AsyncIterator[None]:
        """See `Store.subscribe`."""
        check_stream(stream)
        async with AsyncExitStack() as stack:
            bell = self._pubsub.subscribe(stream, on_change)
            await self._link.call(lambda: stack.enter_async_context(bell))
            yield

    async def aclose(self) -> None:
        """Close the connections and end the task that listens."""
        await self._pubsub.aclose()
        await self._link.aclose()

    async def _is_kept(self, stream: str) -> bool:
        """Whether there is such a stream, and its entries have not expired."""
        told = await self._status(stream)
        return told is not None and not told[8]

    async def _status(self, stream: str) -> Any:
        """What the script STATUS says of a stream, in brief."""
        return await self._link.of("STATUS", stream, self._retention, 0)

    async def _forget(self, stream: str, *, running: bool) -> None:
        """Forget a stream, if it has ended or `running`, and put the index right."""
        if await self._link.of("FORGET", stream, self._link.channel(stream), int(running)):
            self._note(stream, None)
        else:
            self._note(stream, await self._status(stream))
        await self._write_notes()

    def _note(self, stream: str, told: Any) -> None:
        """Note for the index what STATUS has told of a stream."""
        state, since, size = (b"", b"0", b"0") if told is None else told[1:4]
        self._notes[stream] = (state.decode(), since.decode(), size.decode())

    async def _write_notes(self) -> None:
        """Tell the index what became of streams; what it cannot be told now, it is told later."""
        self._noted = asyncio.get_running_loop().time()
        async with self._noting:
            while self._notes:
                some = {stream: self._notes[stream] for stream in islice(self._notes, _AT_ONCE)}
                for stream in some:
                    del self._notes[stream]
                flat = (value for stream, note in some.items() for value in (stream, *note))
                try:
                    await self._link.of_all("NOTE", self._retention, *flat)
                except BaseException:
                    self._notes = some | self._notes
                    raise


def _generations(told: bytes) -> tuple[tuple[int, int], ...]:
    """`1:1,2:151` as generations and their first sequences."""
    pairs = (pair.split(b":") for pair in told.split(b","))
    return tuple((int(generation), int(first)) for generation, first in pairs)
