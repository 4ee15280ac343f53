"""The conformance tests of a store, to inherit from.

    class TestMyStore(StoreConformance):
        async def open(self, limits: Limits) -> Store:
            return MyStore(limits)

pytest collects the class, and pytest-asyncio runs it (`asyncio_mode = "auto"`). Where a
test opens several stores, they must give access to the same streams if they are shared.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from dual_mode_streaming.stores._base import (
    AppendResult,
    Entry,
    NewStream,
    Store,
    StoreFull,
    StreamInfo,
)
from dual_mode_streaming.testing._channel_stores import PublishConformance


def _some(start: int, stop: int) -> list[bytes]:
    """Return payloads that name their sequence, from `start` to `stop` - 1."""
    return [b"entry %d" % number for number in range(start, stop)]


def _new_stream(**options: Any) -> NewStream:
    """Return a stream with a random id."""
    return NewStream(stream=secrets.token_hex(16), operation="test", request=b'{"n":1}', **options)


def _tuples(entries: Iterable[Entry]) -> list[tuple[int, int, bytes]]:
    """Return entries as plain tuples."""
    return [(entry.generation, entry.sequence, entry.payload) for entry in entries]


@contextmanager
def _raises(kind: type[Exception]) -> Iterator[None]:
    """Check that the block raises an exception of a class."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"no {kind.__name__} was raised")


class StoreConformance(PublishConformance):
    """The tests of the `Store` protocol.

    Override `open`. Each test starts with an empty store.
    """

    async def test_what_is_appended_is_read_in_order(self) -> None:
        async with self.store() as store:
            new = _new_stream(owner="o", fingerprint="f")
            assert await store.create(new) == new.stream
            assert await store.read(new.stream, 0) == []
            empty = await self.info_of(store, new.stream)
            assert (empty.head, empty.earliest) == (0, 1)
            assert await store.append(new.stream, 1, 1, _some(1, 4)) is AppendResult.OK
            assert await store.append(new.stream, 1, 4, _some(4, 6)) is AppendResult.OK
            assert _tuples(await store.read(new.stream, 0)) == [
                (1, n, b"entry %d" % n) for n in range(1, 6)
            ]
            assert [e.sequence for e in await store.read(new.stream, 3)] == [4, 5]
            assert await store.read(new.stream, 5) == []
            assert await store.read(new.stream, 10**15) == []
            info = await self.info_of(store, new.stream)
            assert info.new == new
            assert (info.state, info.head, info.earliest) == ("running", 5, 1)
            assert (info.generation, info.generations) == (1, ((1, 1),))
            assert not info.cancelling
            assert not info.is_abandoned
            assert 0 < info.lease <= store.limits.lease

    async def test_payloads_are_any_bytes(self) -> None:
        async with self.store() as store:
            stream = await store.create(_new_stream())
            payloads = [b"", b"\0\r\n\xff", bytes(range(256)) * 400, "é\u2028".encode()]
            await store.append(stream, 1, 1, payloads)
            assert [entry.payload for entry in await store.read(stream, 0)] == payloads

    async def test_a_read_is_bounded_in_entries_and_bytes(self) -> None:
        async with self.store() as store:
            stream = await store.create(_new_stream())
            await store.append(stream, 1, 1, [b"x" * 100] * 50)
            assert len(await store.read(stream, 0, entries=7)) == 7
            assert 1 <= len(await store.read(stream, 0, size=550)) <= 5
            assert len(await store.read(stream, 0, size=1)) == 1
            assert (await store.read(stream, 7, entries=1))[0].sequence == 8

    async def test_an_append_may_be_made_again(self) -> None:
        async with self.store() as store:
            stream = await store.create(_new_stream())
            for _ in range(2):
                assert await store.append(stream, 1, 1, _some(1, 4)) is AppendResult.OK
            assert await store.append(stream, 1, 3, _some(3, 7)) is AppendResult.OK
            assert _tuples(await store.read(stream, 0)) == [
                (1, n, b"entry %d" % n) for n in range(1, 7)
            ]
            for _ in range(2):
                assert await store.append(stream, 1, 7, _some(7, 9), end="done") is AppendResult.OK

    async def test_a_gap_is_refused(self) -> None:
        async with self.store() as store:
            stream = await store.create(_new_stream())
            await store.append(stream, 1, 1, _some(1, 3))
            assert await store.append(stream, 1, 4, _some(4, 5)) is AppendResult.GAP
            assert (await self.info_of(store, stream)).head == 2

    async def test_after_the_end_nothing_is_added(self) -> None:
        async with self.store() as store:
            stream = await store.create(_new_stream())
            assert await store.append(stream, 1, 1, _some(1, 3), end="error") is AppendResult.OK
            assert await store.append(stream, 1, 3, _some(3, 4)) is AppendResult.CLOSED
            assert await store.append(stream, 1, 3, _some(3, 4), end="done") is AppendResult.CLOSED
            info = await self.info_of(store, stream)
            assert (info.state, info.head) == ("error", 2)
            assert not info.is_abandoned
            assert await store.take_over(stream) is None

    async def test_a_stream_that_is_not_there(self) -> None:
        async with self.store() as store:
            stream = secrets.token_hex(16)
            assert await store.info(stream) is None
            assert await store.read(stream, 0) == []
            assert await store.append(stream, 1, 1, _some(1, 2)) is AppendResult.CLOSED
            assert await store.take_over(stream) is None
            await store.cancel(stream)
            await store.delete(stream)

    async def test_the_writer_hears_of_a_cancellation(self) -> None:
        async with self.store() as store:
            stream = await store.create(_new_stream())
            await store.cancel(stream)
            await store.cancel(stream)
            assert (await self.info_of(store, stream)).cancelling
            assert await store.append(stream, 1, 1, _some(1, 2)) is AppendResult.CANCEL
            assert await store.append(stream, 1, 2, ()) is AppendResult.CANCEL
            assert await store.append(stream, 1, 2, _some(2, 3), end="cancelled") is AppendResult.OK
            assert (await self.info_of(store, stream)).state == "cancelled"

    async def test_one_idempotency_key_makes_one_stream(self) -> None:
        async with self.store() as store:
            first, second = _new_stream(), _new_stream()
            made = await asyncio.gather(*(store.create(new, "c") for new in (first, second)))
            assert len(set(made)) == 1
            assert await store.find("c") == made[0]
            assert await store.find("b") is None
            assert await store.create(_new_stream(), "another") not in made
            await store.delete(made[0])
            assert await store.find("c") is None
            third = _new_stream()
            assert await store.create(third, "c") == third.stream
            made = await asyncio.gather(
                *(store.create(_new_stream(), "c", replaces=third.stream) for _ in range(3))
            )
            assert len({*made, third.stream}) == 2
            assert await store.find("c") == made[0]
            await store.delete(third.stream)
            assert await store.find("c") == made[0]

    async def test_a_deleted_stream_is_forgotten(self) -> None:
        async with self.store() as store:
            stream = await store.create(_new_stream())
            await store.append(stream, 1, 1, _some(1, 3))
            await store.delete(stream)
            assert await store.info(stream) is None
            assert await store.read(stream, 0) == []
            assert await store.append(stream, 1, 3, _some(3, 4)) is AppendResult.CLOSED

    async def test_a_lost_lease_is_taken_over_and_the_old_writer_fenced(self) -> None:
        async with self.store(lease=0.2) as store:
            stream = await store.create(_new_stream())
            await store.append(stream, 1, 1, _some(1, 4))
            assert await store.take_over(stream) is None
            assert stream not in await store.abandoned()
            await self.until(store, stream, lambda info: info.is_abandoned)
            assert stream in await store.abandoned()
            taken = await asyncio.gather(*(store.take_over(stream) for _ in range(3)))
            (second,) = (one for one in taken if one is not None)
            assert second > 1
            assert stream not in await store.abandoned()
            assert await store.append(stream, 1, 4, _some(4, 6)) is AppendResult.FENCED
            assert await store.append(stream, 1, 4, ()) is AppendResult.FENCED
            assert await store.append(stream, 1, 4, (), end="done") is AppendResult.FENCED
            assert await store.append(stream, second, 4, [b"new 4"]) is AppendResult.OK
            info = await self.info_of(store, stream)
            assert info.generations == ((1, 1), (second, 4))
            assert _tuples(await store.read(stream, 2)) == [
                (1, 3, b"entry 3"),
                (second, 4, b"new 4"),
            ]
            assert info.has(1, 3)
            assert info.has(second, 4)
            assert not info.has(1, 4)
            assert not info.has(second, 5)
            assert not info.has(second + 1, 5)

    async def test_an_append_renews_the_lease(self) -> None:
        async with self.store(lease=0.3) as store:
            stream = await store.create(_new_stream())
            for _ in range(6):
                await asyncio.sleep(0.1)
                assert await store.append(stream, 1, 1, ()) is AppendResult.OK
            assert not (await self.info_of(store, stream)).is_abandoned

    async def test_a_stream_beyond_its_bounds_loses_its_oldest_entries(self) -> None:
        async with self.store(stream_entries=10) as store:
            stream = await store.create(_new_stream())
            for start in range(1, 101, 5):
                await store.append(stream, 1, start, _some(start, start + 5))
            earliest = (await self.info_of(store, stream)).earliest
            kept = await store.read(stream, 0)
            assert [entry.sequence for entry in kept] == list(range(earliest, 101))
            assert 1 <= len(kept) <= 25  # a store may trim coarsely
        async with self.store(stream_bytes=1000) as store:
            stream = await store.create(_new_stream())
            for start in range(1, 101):
                await store.append(stream, 1, start, [b"x" * 100])
            kept = await store.read(stream, 0)
            assert kept[-1].sequence == 100
            assert len(kept) <= 25

    async def test_what_ended_long_ago_expires_and_is_then_forgotten(self) -> None:
        async with self.store(retention=0.3) as store:
            stream = await store.create(_new_stream(owner="o"))
            await store.append(stream, 1, 1, _some(1, 3), end="done")
            running = await store.create(_new_stream())
            await self.until(store, stream, lambda info: info is None or info.expired)
            assert (await self.info_of(store, stream)).new.owner == "o"
            assert await store.read(stream, 0) == []
            await self.until(store, stream, lambda info: info is None)
            assert await store.info(running) is not None

    async def test_beyond_its_bounds_a_store_forgets_what_ended_and_refuses_more(self) -> None:
        async with self.store(streams=3) as store:
            ended = await store.create(_new_stream())
            await store.append(ended, 1, 1, _some(1, 2), end="done")
            for _ in range(3):
                await store.create(_new_stream())
            assert await store.info(ended) is None
            with _raises(StoreFull):
                await store.create(_new_stream())

    async def test_a_subscriber_hears_of_every_change(self) -> None:
        async with self.store() as store:
            stream, other = await store.create(_new_stream()), await store.create(_new_stream())
            changed = asyncio.Event()
            async with store.subscribe(stream, changed.set):
                for number in range(1, 6):
                    changed.clear()
                    await store.append(stream, 1, number, [b"x"])
                    await asyncio.wait_for(changed.wait(), 5)
                changed.clear()
                await store.cancel(stream)
                await asyncio.wait_for(changed.wait(), 5)
            await store.append(other, 1, 1, [b"x"])

    async def test_what_another_process_does_is_seen_if_the_store_is_shared(self) -> None:
        async with self.store() as one, self.store() as two:
            if not one.shared:
                return
            stream = await one.create(_new_stream())
            changed = asyncio.Event()
            async with two.subscribe(stream, changed.set):
                await one.append(stream, 1, 1, _some(1, 3))
                await asyncio.wait_for(changed.wait(), 5)
            assert [entry.sequence for entry in await two.read(stream, 0)] == [1, 2]
            await two.cancel(stream)
            assert await one.append(stream, 1, 3, ()) is AppendResult.CANCEL

    async def test_no_other_string_is_an_id(self) -> None:
        async with self.store() as store:
            for stream in ("", "x", "../" * 8, "A" * 32, "0" * 31, "0" * 33, "0" * 31 + "\n", "*"):
                with _raises(ValueError):
                    await store.info(stream)

    async def test_many_writers_at_once(self) -> None:
        async with self.store() as store:

            async def write(new: NewStream) -> list[int]:
                stream = await store.create(new)
                for start in range(1, 21, 4):
                    assert await store.append(stream, 1, start, _some(start, start + 4))
                await store.append(stream, 1, 21, (), end="done")
                return [entry.sequence for entry in await store.read(stream, 0)]

            for sequences in await asyncio.gather(*(write(_new_stream()) for _ in range(50))):
                assert sequences == list(range(1, 21))

    @staticmethod
    async def info_of(store: Store, stream: str) -> StreamInfo:
        """Return the state of a stream that exists."""
        info = await store.info(stream)
        assert info is not None
        return info

    @staticmethod
    async def until(store: Store, stream: str, is_so: Callable[[Any], bool]) -> None:
        """Wait until the state of a stream meets a condition. The clock is that of the store."""
        async with asyncio.timeout(5):
            while not is_so(await store.info(stream)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
