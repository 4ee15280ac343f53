"""Streams in Redis: any number of processes and machines share them."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

from dual_mode_streaming.errors import StoreError, StoreFull
from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores._base import (
    AppendResult,
    Entry,
    Limits,
    NewStream,
    OnChange,
    Published,
    StreamInfo,
    check_stream,
)
from dual_mode_streaming.stores._publishing import next_step
from dual_mode_streaming.stores._redis_clock import ServerClock
from dual_mode_streaming.stores._redis_connection import ScriptClient
from dual_mode_streaming.stores._redis_index import AT_ONCE, IndexNotes
from dual_mode_streaming.stores._redis_publish import flat_marks, milliseconds, published
from dual_mode_streaming.stores._redis_pubsub import PubSub
from dual_mode_streaming.stores._rehearsal import rehearse

_PREFIX: Final = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_RENEWAL_DELAY: Final = 0.02  # seconds that a renewal may wait, to share a pipeline
_LARGEST: Final = 2**53  # whole numbers of Lua are exact up to here


class RedisStore:
    """A store in one Redis, 6.2 or newer, shared by all with the same address and prefix.

    Nothing is connected before the first call. A store has at most 16 connections
    (`max_connections` in the URL), and one more while there are subscriptions. Whoever creates the
    store closes it with `aclose`.

    An acknowledged entry is as durable as the Redis is. With `appendonly yes` it survives a crash
    of the process, with `appendfsync always` a power cut; without either it does not survive a
    restart. A replica may lack the last entries. Such a loss is noticed: AppendResult.GAP.

    `streams` and `total_bytes` of the limits hold roughly: appended bytes count within about a
    second. All keys expire, so a stream that is no longer used leaves nothing behind.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with the options of redis-py as its query.
        limits: the limits of the store.
        prefix: the beginning of every key: letters, digits and `_.:-`.
        timeout: the seconds that a call may take with its retries; then it raises StoreError.
        watchdog: the seconds in which every subscriber is called at least once, because Redis drops
            a message that it cannot deliver.

    Raises:
        ValueError: for another URL or prefix.
    """

    shared = True

    def __init__(
        self,
        url: str,
        limits: Limits | None = None,
        *,
        prefix: str = "dual-mode",
        timeout: float = 5.0,
        watchdog: float = 5.0,
    ) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(
                f"prefix must be 1 to 64 letters, digits and any of _.:-, not {prefix!r:.80}"
            )
        self.limits = limits or Limits()
        self._connected = url, prefix, timeout, watchdog
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lease = max(1, round(self.limits.lease * 1000))
        self._retention = max(1, round(self.limits.retention * 1000))
        self._clock = ServerClock(self.limits.lease)
        self._connect()

    def _connect(self) -> None:
        """Prepare the connections, of which none is opened yet."""
        url, prefix, timeout, watchdog = self._connected
        self._client = ScriptClient(url, prefix, timeout)
        self._pubsub = PubSub(self._client.pool, self._client.channel(""), watchdog)
        self._index = IndexNotes(self._client, self._retention)

    def reopen(self) -> None:
        """Let the store be used again after `aclose`, or in another event loop."""
        loop = asyncio.get_running_loop()
        if self._client.is_closed or self._loop not in (None, loop):
            self._connect()
        self._loop = loop

    async def check(self) -> None:
        """Use the server once in every way. Raises StoreError if it is not the right one."""
        await self._client.check_server()
        await rehearse(self)

    async def create(
        self, new: NewStream, idempotency_key: str | None = None, *, replaces: str | None = None
    ) -> str:
        """See `Store.create`. The stream exists before the key refers to it."""
        key = "" if idempotency_key is None else _digest(idempotency_key)
        missing = ""  # a stream to which the key refers, and which does not exist
        if key:
            missing = str(await self._client.run_index("FIND", key), "ascii")
            if missing and missing != replaces and await self._is_kept(missing):
                return missing
        lease = await self._client.run(
            "MAKE", new.stream, self._lease, self._retention,
            new.operation, new.owner, new.fingerprint, new.request, new.generation,
            "" if new.lifetime is None else milliseconds(new.lifetime),
        )  # fmt: skip
        await self._index.write()
        bounds = self.limits.streams, int(self.limits.total_bytes)
        is_repaired = False
        while True:
            match await self._client.run_index("ENTER", new.stream, lease, *bounds, key, missing):
                case [b"HELD", other]:
                    missing = str(other, "ascii")
                    if await self._is_kept(missing):
                        await self._remove(new.stream)
                        return missing
                case [b"FULL", b"", streams, size] if is_repaired:
                    await self._remove(new.stream)
                    bound = f"{streams} streams and {size} bytes"
                    raise StoreFull(f"the store has {bound}, and all of them are running")
                case [b"FULL", b"", *_]:
                    is_repaired = True
                    await self.abandoned()  # some may not exist, and the index does not know it
                case [b"FULL", oldest, *_]:
                    await self._forget(oldest.decode(), running=False)
                case _:
                    return new.stream

    async def find(self, idempotency_key: str) -> str | None:
        """See `Store.find`."""
        found = str(await self._client.run_index("FIND", _digest(idempotency_key)), "ascii")
        return found if found and await self._is_kept(found) else None

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
        reply = await self._append(self._client, stream, generation, first, payloads, end)
        if len(reply) == 3 and (payloads or end):
            self._index.note(stream, end or "running", reply[1], reply[2])
            if end or self._index.is_due:
                with suppress(StoreError):  # the entries are stored; the notes are tried again
                    await self._index.write()
        return AppendResult[reply[0].decode()]

    async def publish(
        self,
        stream: str,
        payloads: Sequence[bytes],
        *,
        end: EndState | None = None,
        marks: Mapping[str, tuple[str | None, str]] | None = None,
        lifetime: float | None = None,
        entries: int | None = None,
        size: int | None = None,
    ) -> Published:
        """See `Store.publish`."""
        reply = await self._client.run(
            "PUBLISH", stream, end or "", "" if lifetime is None else milliseconds(lifetime),
            self._retention, int(min(self.limits.stream_entries, entries or _LARGEST)),
            int(min(self.limits.stream_bytes, size or _LARGEST)), self._client.channel(stream),
            *flat_marks(marks or {}), *payloads,
        )  # fmt: skip
        if len(reply) == 6 and reply[0] == b"OK" and (payloads or end):
            self._index.note(stream, reply[3].decode(), reply[4], reply[5])
            if end or self._index.is_due:
                with suppress(StoreError):
                    await self._index.write()
        return published(reply)

    async def read(
        self, stream: str, after: int, *, entries: int = 1000, size: int = 1024 * 1024
    ) -> list[Entry]:
        """See `Store.read`."""
        after = min(max(0, after), _LARGEST)
        values = iter(await self._client.run("READ", stream, after, entries, size))
        return [
            Entry(int(generation), int(sequence.partition(b"-")[0]), payload)
            for sequence, generation, payload in zip(values, values, values, strict=True)
        ]

    async def info(self, stream: str) -> StreamInfo | None:
        """See `Store.info`."""
        reply = await self._client.run("STATUS", stream, self._retention, 1)
        if reply is None:
            return None
        left, state, _, _, head, earliest, generations, cancelling, expired = reply[:9]
        operation, owner, fingerprint = (value.decode() for value in reply[9:12])
        pairs = (pair.split(b":") for pair in generations.split(b","))  # 1:1,2:151
        begun = tuple((int(generation), int(first)) for generation, first in pairs)
        return StreamInfo(
            new=NewStream(
                stream=stream,
                operation=operation,
                owner=owner,
                fingerprint=fingerprint,
                request=reply[12],
                lifetime=None if reply[13] is None else int(reply[13]) / 1000,
                generation=begun[0][0],
            ),
            state=state.decode(),
            head=int(head),
            earliest=int(earliest),
            generations=begun,
            cancelling=bool(cancelling),
            lease=self._left(reply) if reply[13] is None else int(left) / 1000,
            expired=bool(expired),
        )

    async def cancel(self, stream: str) -> None:
        """See `Store.cancel`."""
        await self._client.run("CANCEL", stream, self._client.channel(stream))

    async def take_over(self, stream: str) -> int | None:
        """See `Store.take_over`. A retry of the same call gets the same generation."""
        status = await self._status(stream)
        if status is None or self._left(status) > 0:
            return None
        step, over = next_step(), status[2]
        reply = await self._client.run(
            "TAKE_OVER", stream, self._lease, self._retention, step, over
        )
        if reply is None:
            return None
        self._index.note(stream, "running", reply[1], reply[2])
        with suppress(StoreError):
            await self._index.write()
        return int(reply[0])

    async def abandoned(self) -> list[str]:
        """See `Store.abandoned`. The index is corrected where it is wrong."""
        far = 3 * self._lease if self._clock.was_set_back else ""
        now, *streams = await self._client.run_index("DUE", AT_ONCE, far)
        self._clock.see(int(now))
        due = [stream.decode() for stream in streams]
        if not due:
            return []
        found = []
        replies = await asyncio.gather(*(self._status(stream) for stream in due))
        for stream, status in zip(due, replies, strict=True):
            if status is not None and status[1] == b"running" and self._left(status) <= 0:
                found.append(stream)
            else:
                self._index.note_status(stream, status)
        await self._index.write()
        return found

    async def delete(self, stream: str) -> None:
        """See `Store.delete`."""
        await self._forget(check_stream(stream), running=True)

    @asynccontextmanager
    async def subscribe(self, stream: str, on_change: OnChange) -> AsyncIterator[None]:
        """See `Store.subscribe`."""
        check_stream(stream)
        async with AsyncExitStack() as stack:
            subscription = self._pubsub.subscribe(stream, on_change)
            await self._client.call(lambda: stack.enter_async_context(subscription))
            yield

    def renew(self, writers: Mapping[str, int]) -> None:
        """See `Store`. It has an event loop and connections of its own."""

        async def renew_all() -> None:
            client = ScriptClient(*self._connected[:3])
            try:
                renewals = (
                    self._append(client, stream, generation, 0, ())
                    for stream, generation in writers.items()
                )
                await asyncio.gather(*renewals)
            finally:
                await client.aclose()

        asyncio.run(renew_all())

    async def release(self, stream: str, generation: int) -> None:
        """See `Store`."""
        if len(reply := await self._append(self._client, stream, generation, 0, (), lease=0)) == 3:
            self._index.note(stream, "running", reply[1], reply[2])
            await self._index.write()

    async def aclose(self) -> None:
        """Close the connections, and end the task that reads messages."""
        await self._pubsub.aclose()
        await self._client.aclose()

    async def _append(
        self,
        client: ScriptClient,
        stream: str,
        generation: int,
        first: int,
        payloads: Sequence[bytes],
        end: EndState | None = None,
        lease: int | None = None,
    ) -> Any:
        """Return the reply of the script APPEND."""
        lease = self._lease if lease is None else lease
        return await client.run(
            "APPEND", stream, generation, first, end or "", lease, self._retention,
            int(self.limits.stream_entries), int(self.limits.stream_bytes), client.channel(stream),
            *payloads, delay=0 if payloads or end else _RENEWAL_DELAY,
        )  # fmt: skip

    async def _status(self, stream: str) -> Any:
        """Return the short reply of the script STATUS."""
        return await self._client.run("STATUS", stream, self._retention, 0)

    def _left(self, status: Any) -> float:
        """Return the seconds that are left of the lease, from a reply of the script STATUS."""
        return self._clock.left(int(status[2]), int(status[0]))

    async def _is_kept(self, stream: str) -> bool:
        """Return whether a stream exists and has not expired."""
        status = await self._status(stream)
        return status is not None and not status[8]

    async def _remove(self, stream: str, *, running: bool = True) -> bool:
        """Delete a stream, if it has ended or `running`; return whether it is gone."""
        channel = self._client.channel(stream)
        return bool(await self._client.run("FORGET", stream, channel, int(running)))

    async def _forget(self, stream: str, *, running: bool) -> None:
        """Delete a stream, if it has ended or `running`, and correct the index."""
        is_gone = await self._remove(stream, running=running)
        self._index.note_status(stream, None if is_gone else await self._status(stream))
        await self._index.write()


def _digest(idempotency_key: str) -> str:
    """Return a name of bounded length for a key that a client chose."""
    return hashlib.sha256(idempotency_key.encode()).hexdigest()
