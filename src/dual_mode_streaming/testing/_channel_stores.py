"""The conformance tests of a store for streams with many writers; `StoreConformance` has them."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dual_mode_streaming.stores._base import AppendResult, Limits, NewStream, Published, Store


class PublishConformance:
    """The tests of `Store.publish`."""

    async def open(self, limits: Limits) -> Store:
        """Return a new store. The tests close it.

        Args:
            limits: the limits of the store.
        """
        raise NotImplementedError

    @asynccontextmanager
    async def store(self, **limits: float) -> AsyncIterator[Store]:
        """Open a store with these limits, and close it at the end."""
        opened = await self.open(Limits(**limits))  # type: ignore[arg-type]
        try:
            yield opened
        finally:
            await opened.aclose()

    async def test_many_writers_share_one_order(self) -> None:
        async with self.store() as one, self.store() as other:
            writers = (one, other) if one.shared else (one, one)
            stream = await one.create(_shared())

            async def write(number: int) -> list[Published]:
                store, text = writers[number % 2], f"{number} %d"
                return [await store.publish(stream, [(text % n).encode()] * 2) for n in range(20)]

            results = [one for each in await asyncio.gather(*map(write, range(10))) for one in each]
            assert {each.result for each in results} == {AppendResult.OK}
            entries = await one.read(stream, 0)
            assert [entry.sequence for entry in entries] == list(range(1, 401))
            assert entries == await other.read(stream, 0) or not one.shared
            for number in range(10):
                own = [e.payload for e in entries if e.payload.startswith(b"%d " % number)]
                expected = [b"%d %d" % (number, n) for n in range(20) for _ in "12"]
                assert own == expected
            assert {each.sequence for each in results} == set(range(2, 401, 2))

    async def test_a_stream_with_many_writers_has_no_lease(self) -> None:
        async with self.store(lease=0.05, retention=30) as store:
            new = _shared(generation=77, lifetime=40)
            stream = await store.create(new)
            await asyncio.sleep(0.1)
            assert await store.abandoned() == []
            assert await store.take_over(stream) is None
            info = await store.info(stream)
            assert info is not None
            assert info.new == new
            assert not info.is_abandoned
            assert info.generations == ((77, 1),)
            assert 30 < info.lease <= 40
            published = await store.publish(stream, [b"x"])
            assert published == (AppendResult.OK, 77, 1, {})

    async def test_a_stream_that_is_not_there_or_has_one_writer_takes_no_publish(self) -> None:
        async with self.store() as store:
            missing = await store.publish("0" * 32, [b"x"])
            assert missing == (AppendResult.CLOSED, 0, 0, {})
            leased = await store.create(NewStream(stream=secrets.token_hex(16), operation="test"))
            assert (await store.publish(leased, [b"x"])).result is AppendResult.CLOSED
            assert await store.read(leased, 0) == []

    async def test_a_mark_makes_a_publish_repeatable(self) -> None:
        async with self.store() as store:
            stream = await store.create(_shared(generation=5))
            once: dict[str, tuple[str | None, str]] = {"k:a b=\n": (None, "")}
            first = await store.publish(stream, [b"1", b"2"], marks=once)
            assert first[:3] == (AppendResult.OK, 5, 2)
            await store.publish(stream, [b"3"])
            again = await store.publish(stream, [b"1", b"2"], marks=once)
            assert again == (AppendResult.CONFLICT, 5, 3, {"k:a b=\n": ("", 5, 2)})
            assert len(await store.read(stream, 0)) == 3

    async def test_a_mark_is_compared_and_set_in_one_step(self) -> None:
        async with self.store() as store:
            stream = await store.create(_shared())

            async def count(_: int) -> None:
                value = None
                while True:
                    after = str(int(value or 0) + 1)
                    done = await store.publish(stream, [b"x"], marks={"n": (value, after)})
                    if done.result is AppendResult.OK:
                        return
                    value = done.marks["n"].value

            await asyncio.gather(*map(count, range(8)))
            held = await store.publish(stream, [], marks={"n": (None, ""), "m": (None, "")})
            assert held.result is AppendResult.CONFLICT
            assert {name: mark.value for name, mark in held.marks.items()} == {"n": "8"}
            assert len(await store.read(stream, 0)) == 8

    async def test_nothing_follows_the_end_but_marks_are_told(self) -> None:
        async with self.store() as store:
            stream = await store.create(_shared())
            marks: dict[str, tuple[str | None, str]] = {"p": (None, "1")}
            assert (await store.publish(stream, [b"x"], end="done", marks=marks)).sequence == 1
            closed = await store.publish(stream, [b"y"])
            assert closed[:1] + closed[2:] == (AppendResult.CLOSED, 1, {})
            assert (await store.publish(stream, [], end="done")).result is AppendResult.CLOSED
            repeated = await store.publish(stream, [b"x"], end="done", marks=marks)
            assert repeated.result is AppendResult.CONFLICT
            info = await store.info(stream)
            assert info is not None
            assert (info.state, info.head) == ("done", 1)

    async def test_a_publish_keeps_the_newest_entries_within_its_bounds(self) -> None:
        async with self.store(stream_entries=50) as store:
            stream, other = await store.create(_shared()), await store.create(_shared())
            for number in range(1, 31):
                await store.publish(stream, [b"%d" % number] * 4, entries=10)
                await store.publish(other, [b"x" * 100] * 4, size=1000)
            assert [entry.sequence for entry in await store.read(stream, 0)] == [*range(111, 121)]
            assert [entry.sequence for entry in await store.read(other, 0)] == [*range(111, 121)]

    async def test_a_lifetime_ends_unless_it_is_renewed_and_then_another_stream_begins(
        self,
    ) -> None:
        async with self.store() as store:
            new = _shared(lifetime=0.3)
            stream = await store.create(new)
            changed = asyncio.Event()
            async with store.subscribe(stream, changed.set):
                for _ in range(4):
                    await asyncio.sleep(0.1)
                    renewed = await store.publish(stream, [], lifetime=0.3)
                    assert renewed.result is AppendResult.OK
                await store.publish(stream, [b"old"], marks={"k": (None, "")})
                async with asyncio.timeout(5):
                    while await store.info(stream) is not None:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
            assert await store.read(stream, 0) == []
            assert (await store.publish(stream, [b"x"])).sequence == 0
            assert await store.create(_shared(stream=stream, generation=9)) == stream
            assert await store.read(stream, 0) == []
            published = await store.publish(stream, [b"new"], marks={"k": (None, "")})
            assert published == (AppendResult.OK, 9, 1, {})

    async def test_what_was_deleted_begins_again_without_marks(self) -> None:
        async with self.store() as store:
            stream = await store.create(_shared())
            await store.publish(stream, [b"x"], marks={"k": (None, "")})
            await store.delete(stream)
            assert await store.info(stream) is None
            await store.create(_shared(stream=stream, generation=2))
            published = await store.publish(stream, [b"y"], marks={"k": (None, "")})
            assert published == (AppendResult.OK, 2, 1, {})

    async def test_a_stream_with_one_writer_may_begin_with_any_generation(self) -> None:
        async with self.store(lease=0.05, retention=30) as store:
            new = NewStream(stream=secrets.token_hex(16), operation="test", generation=77)
            stream = await store.create(new)
            assert await store.append(stream, 77, 1, [b"x"]) is AppendResult.OK
            assert await store.append(stream, 1, 2, [b"y"]) is AppendResult.FENCED
            while (taken := await store.take_over(stream)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            assert taken > 77
            assert await store.append(stream, taken, 2, (), end="done") is AppendResult.OK
            await store.delete(stream)
            assert await store.create(NewStream(stream=stream, operation="test", generation=5))
            assert await store.read(stream, 0) == []
            assert await store.append(stream, 5, 1, [b"z"]) is AppendResult.OK

    async def test_a_subscriber_hears_of_what_is_published(self) -> None:
        async with self.store() as one, self.store() as other:
            writer = other if one.shared else one
            stream = "a" * 32
            changed = asyncio.Event()
            async with one.subscribe(stream, changed.set):  # before there is such a stream
                await writer.create(_shared(stream=stream))
                for end in (None, "done"):
                    changed.clear()
                    await writer.publish(stream, [b"x"], end=end)
                    await asyncio.wait_for(changed.wait(), 5)


def _shared(**options: Any) -> NewStream:
    """Return a stream with many writers and a random id."""
    given: Any = {"stream": secrets.token_hex(16), "operation": "test", "lifetime": 3600.0}
    return NewStream(**given | options)
