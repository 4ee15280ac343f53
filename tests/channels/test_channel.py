"""Channels in Python: publish, read, subscribe, close, delete, on every store."""

import asyncio
import itertools
from contextlib import aclosing
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from dual_mode_streaming import Channel, Problem
from dual_mode_streaming.channels import ChannelClosed
from dual_mode_streaming.stores import MemoryStore, StoreError


class Order(BaseModel):
    id: int
    state: str = "new"


class Paid(BaseModel):
    kind: Literal["paid"] = "paid"


class Sent(BaseModel):
    kind: Literal["sent"] = "sent"


Event = Annotated[Paid | Sent, Field(discriminator="kind")]

names = itertools.count()


@pytest.fixture
async def orders(store):
    yield Channel(f"test-{next(names)}/{{id}}", Order, store=store)
    await Channel.aclose()


@pytest.fixture
async def one():
    """A channel in memory."""
    yield Channel(f"test-{next(names)}", Order, store=MemoryStore())
    await Channel.aclose()


async def taken(subscription, count):
    """The next items of a subscription."""
    async with asyncio.timeout(60):
        return [await anext(subscription) for _ in range(count)]


async def test_what_is_published_is_read_and_followed(orders):
    first = await orders.publish(Order(id=1), id=7)
    async with aclosing(orders.subscribe(id=7)) as subscription:
        assert await taken(subscription, 1) == [Order(id=1)]
        assert subscription.cursor == first
        waiting = asyncio.create_task(taken(subscription, 2))
        last = await orders.publish_many([Order(id=2), {"id": "3"}], id=7)
        assert await waiting == [Order(id=2), Order(id=3)]
        assert subscription.cursor == last
    assert [each.item.id for each in await orders.read(id=7)] == [1, 2, 3]
    after = await orders.read(id=7, after=first, limit=1)
    assert [each.item.id for each in after] == [2]
    assert [each.item.id for each in await orders.read(id=7, after=after[0].cursor)] == [3]
    assert await orders.read(id=8) == []


async def test_a_subscription_may_come_before_the_channel(orders):
    async with aclosing(orders.subscribe(id=1)) as early:
        waiting = asyncio.create_task(taken(early, 1))
        await asyncio.sleep(0)
        await orders.publish(Order(id=5), id=1)
        assert await waiting == [Order(id=5)]


async def test_from_now_leaves_out_what_was_before(orders):
    await orders.publish(Order(id=1), id=1)
    async with aclosing(orders.subscribe(id=1, from_="now")) as late:
        waiting = asyncio.create_task(taken(late, 1))
        for number in itertools.count(2):  # until it has begun
            await orders.publish(Order(id=number), id=1)
            done, _ = await asyncio.wait({waiting}, timeout=0.02)
            if done:
                break
        (order,) = await waiting
        assert order.id > 1


async def test_a_key_publishes_once(orders):
    first, again = [await orders.publish(Order(id=1), id=1, key="a") for _ in range(2)]
    await orders.publish(Order(id=1), id=1, key="b")
    await orders.publish(Order(id=1), id=1)
    assert first == again
    assert len(await orders.read(id=1)) == 3
    with pytest.raises(Problem, match="used to publish something else"):
        await orders.publish(Order(id=2), id=1, key="a")


async def test_a_closed_channel_ends_its_readers_and_takes_nothing(orders):
    async def all_of(subscription):
        async with asyncio.timeout(60):
            return [order.id async for order in subscription]

    reading = asyncio.create_task(all_of(orders.subscribe(id=1)))
    await orders.publish(Order(id=1), id=1)
    await orders.close(id=1)
    assert await reading == [1]
    await orders.close(id=1)
    await orders.close(id=2)  # a job that had nothing to say
    assert await all_of(orders.subscribe(id=2)) == []
    assert await all_of(orders.subscribe(id=1)) == [1]
    assert len(await orders.read(id=1)) == 1
    with pytest.raises(ChannelClosed):
        await orders.publish(Order(id=2), id=1)


@pytest.mark.parametrize("error", ["it broke", Problem(418, "it broke")], ids=["text", "problem"])
async def test_a_channel_may_end_with_an_error(orders, error):
    status = 500 if isinstance(error, str) else 418
    await orders.publish(Order(id=1), id=1)
    await orders.close(id=1, error=error)
    await orders.close(id=1)
    await orders.close(id=2, error=error)  # a job that failed before its first message
    for number, count in ((1, 1), (2, 0)):
        subscription = orders.subscribe(id=number)
        assert len(await taken(subscription, count)) == count
        with pytest.raises(Problem, match="it broke") as raised:
            await taken(subscription, 1)
        assert raised.value.status_code == status
        assert len(await orders.read(id=number)) == count


async def test_readers_of_a_deleted_channel_wait_and_are_told_of_the_gap(orders):
    old = await orders.publish(Order(id=1), id=1)
    async with aclosing(orders.subscribe(id=1)) as subscription:
        await taken(subscription, 1)
        waiting = asyncio.create_task(taken(subscription, 1))
        await orders.delete(id=1)
        assert await orders.read(id=1) == []
        new = await orders.publish(Order(id=2), id=1)
        assert await waiting == [Order(id=2)]
        assert subscription.gap["reason"] == "rewritten"
        assert subscription.gap["requested"] == old
    assert old.split(".")[0] == new.split(".")[0]
    assert old != new
    with pytest.raises(Problem, match="no longer kept"):
        await orders.read(id=1, after=old)


async def test_what_retention_took_is_told(store):
    channel = Channel(f"test-{next(names)}", Order, store=store, max_messages=5)
    first = await channel.publish(Order(id=0))
    for number in range(1, 21):
        await channel.publish(Order(id=number))
    assert [each.item.id for each in await channel.read()] == [*range(16, 21)]
    async with aclosing(channel.subscribe(after=first)) as behind:
        assert [order.id for order in await taken(behind, 5)] == [*range(16, 21)]
        assert behind.gap["reason"] == "trimmed"
    async with aclosing(channel.subscribe()) as fresh:
        await taken(fresh, 5)
        assert fresh.gap is None
    await Channel.aclose()


async def test_a_silent_channel_is_forgotten(store):
    channel = Channel(f"test-{next(names)}", Order, store=store, ttl=0.2)
    old = await channel.publish(Order(id=1))
    async with asyncio.timeout(60):
        while await channel.read():
            await asyncio.sleep(0.02)
    async with aclosing(channel.subscribe(after=old)) as behind:
        waiting = asyncio.create_task(taken(behind, 1))
        while not waiting.done():  # what is published is soon forgotten, too
            await channel.publish(Order(id=2))
            await asyncio.wait({waiting}, timeout=0.05)
        assert await waiting == [Order(id=2)]
        assert behind.gap["reason"] == "rewritten"
    await Channel.aclose()


async def test_many_writers_and_readers_see_strict(orders):
    async def write(writer):
        for number in range(20):
            await orders.publish(Order(id=writer * 100 + number), id=1)

    readers = [orders.subscribe(id=1) for _ in range(5)]
    reading = [asyncio.create_task(taken(reader, 100)) for reader in readers]
    await asyncio.gather(*map(write, range(5)))
    seen = [[order.id for order in await each] for each in reading]
    for each in seen:
        assert each == seen[0]
        for writer in range(5):
            own = [number for number in each if number // 100 == writer]
            assert own == sorted(own)
    assert len(set(seen[0])) == 100
    for reader in readers:
        await reader.aclose()


@pytest.mark.parametrize("wrong", [{"id": "x"}, "text", None, Sent()])
async def test_a_message_of_another_type_is_refused(one, wrong):
    with pytest.raises(ValidationError):
        await one.publish(wrong)
    with pytest.raises(ValidationError):
        await one.publish_many([Order(id=1), wrong])
    assert await one.read() == []


@pytest.mark.parametrize(
    ("item_type", "items"),
    [
        (Event, [Paid(), Sent()]),
        (dict[str, int], [{"a": 1}]),
        (str, ["", "a\n\nb\u2028"]),
        (int | None, [1, None]),
        (Any, [[1, {"a": None}], "x"]),
    ],
    ids=str,
)
async def test_messages_may_be_of_any_type_that_json_shows(item_type, items):
    channel = Channel(f"test-{next(names)}", item_type, store=MemoryStore())
    await channel.publish_many(items)
    assert [each.item for each in await channel.read()] == items
    async with aclosing(channel.subscribe()) as subscription:
        assert await taken(subscription, len(items)) == items
    await Channel.aclose()


async def test_nothing_is_published_without_messages(one):
    with pytest.raises(ValueError, match="nothing to publish"):
        await one.publish_many([])


@pytest.mark.parametrize("error", [ValueError("x"), 5, True])
async def test_an_error_that_cannot_be_told_is_refused(one, error):
    with pytest.raises(TypeError, match="error of a channel must be a str or a Problem, not"):
        await one.close(error=error)


async def test_a_key_that_is_no_text_is_refused(one):
    with pytest.raises(TypeError, match="key of a message must be a str, not 5"):
        await one.publish(Order(id=1), key=5)


@pytest.mark.parametrize("cursor", ["x", "0", "a.1.1", "0" * 32 + ".1", "\0", "\u0661"])
async def test_a_wrong_cursor_is_refused(one, cursor):
    with pytest.raises(Problem, match="not a cursor"):
        one.subscribe(after=cursor)
    with pytest.raises(Problem, match="not a cursor"):
        await one.read(after=cursor)


@pytest.mark.parametrize("limit", [0, -1, "5", 1.5, None])
async def test_a_limit_that_is_none_is_refused(one, limit):
    with pytest.raises(ValueError, match="limit must be an int from 1, not"):
        await one.read(limit=limit)


async def test_a_channel_without_a_store_says_so():
    with pytest.raises(RuntimeError, match="no app with install"):
        await Channel(f"test-{next(names)}", Order).publish(Order(id=1))


class Faulty(MemoryStore):
    """A store whose first publishes fail: before they are stored, or after."""

    def __init__(self, faults):
        super().__init__()
        self.faults = faults

    async def publish(self, *args, **options):
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "before":
            raise StoreError("it cannot be reached")
        done = await super().publish(*args, **options)
        if fault == "after":
            raise StoreError("its answer was lost")
        return done


@pytest.mark.parametrize("faults", [["before"], ["", "after"], ["after", "after"]], ids=str)
async def test_a_publish_that_failed_is_made_again_and_counts_once(faults):
    channel = Channel(f"test-{next(names)}", Order, store=Faulty(faults))
    cursors = [await channel.publish(Order(id=number)) for number in range(3)]
    assert [each.cursor for each in await channel.read()] == cursors
    await Channel.aclose()


async def test_a_model_with_a_wrong_attribute_is_not_stored():
    strict = Channel(f"test-{next(names)}", Order, store=MemoryStore())
    order = Order(id=1)
    order.id = "x"  # pydantic does not look
    with pytest.raises(ValidationError), pytest.warns(UserWarning, match="Expected `int`"):
        await strict.publish(order)
    assert await strict.read() == []


async def test_a_cursor_of_another_channel_is_refused(orders):
    other = await orders.publish(Order(id=1), id=1)
    for wrong in (other, "x"):
        with pytest.raises(Problem, match="not a cursor of the channel"):
            orders.subscribe(id=2, after=wrong)
        with pytest.raises(Problem, match="not a cursor of the channel"):
            await orders.read(id=2, after=wrong)
    with pytest.raises(TypeError, match="is a str, not 5"):
        orders.subscribe(id=2, after=5)
