"""`Channel`: a named, durable stream of typed messages that anyone may publish to."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from pydantic import PydanticUserError

from dual_mode_streaming._codec import ItemCodec
from dual_mode_streaming.channels import _places
from dual_mode_streaming.channels._log import ChannelLog, ChannelMessage, Retention
from dual_mode_streaming.channels._names import NameTemplate, stream_of
from dual_mode_streaming.channels._places import StoreLike
from dual_mode_streaming.channels._subscription import From, Subscription
from dual_mode_streaming.channels._sync import SyncChannel
from dual_mode_streaming.channels._writer import ChannelWriter
from dual_mode_streaming.errors import Problem
from dual_mode_streaming.recordings import Cursor, StreamRecord
from dual_mode_streaming.stores._factory import check_store

T = TypeVar("T")

_channels: "weakref.WeakSet[Channel[Any]]" = weakref.WeakSet()


class Channel(Generic[T]):
    """A channel, or many: each parameter of the name, such as `orders/{id}`, makes another one.

    Any process may publish, and all readers on all workers see the same messages in the same
    order. A message is stored before any reader has it; publishing waits for no reader. A channel
    exists from its first message on.

    Args:
        name: the name; whole segments may be parameters: `orders/{id}`.
        item_type: the type of the messages, which are validated when they are published.
        store: the store or its address; None for that of the app that serves here.
        max_messages: how many messages are kept, the newest; None for what the store allows.
        max_bytes: their size in bytes; None for what the store allows.
        ttl: the time in seconds after the last message at which the channel is forgotten; None for
            never.

    Raises:
        ValueError: the name is none, it can be the name of another channel of this process, or a
            bound is not above 0, or the store has no such address.
        TypeError: the name or the store is of a wrong type, or messages of the type cannot be read
            again from their JSON.
    """

    def __init__(
        self,
        name: str,
        item_type: type[T],
        *,
        store: StoreLike = None,
        max_messages: int | None = None,
        max_bytes: int | None = None,
        ttl: float | None = None,
    ) -> None:
        bounds = {"max_messages": max_messages, "max_bytes": max_bytes, "ttl": ttl}
        for option, value in bounds.items():
            if value is not None and not (isinstance(value, int | float) and value > 0):
                unit = "a number of seconds" if option == "ttl" else "a number"
                raise ValueError(
                    f"Channel({name!r}): {option} must be {unit} above 0, not {value!r}"
                )
        if store is not None:
            check_store(store, f"Channel({name!r}): store")
        self.name = name
        try:
            self.codec = ItemCodec(item_type)
        except PydanticUserError as error:
            raise TypeError(
                f"Channel({name!r}): {item_type!r} is no type that pydantic can read: "
                f"{str(error).partition(chr(10))[0]}"
            ) from error
        self._store = store
        self._template = NameTemplate(name)
        self.retention = Retention(entries=max_messages, size=max_bytes, ttl=ttl)
        self.codec.parsed  # noqa: B018  (a type that cannot be read is an error here)
        for other in _channels:
            if self._template.meets(other._template) and store == other._store:
                raise ValueError(
                    f"{name!r} and {other.name!r} can be the same name; begin them differently"
                )
        _channels.add(self)

    @property
    def sync(self) -> SyncChannel[T]:
        """The same channel for code without an event loop: a Celery task, a script, a thread."""
        return SyncChannel(self)

    async def publish(self, item: T, *, key: str | None = None, **parameters: Any) -> str:
        """Publish a message.

        Args:
            item: the message.
            key: a key of the caller's: a repeated publish with the same key adds nothing. The last
                10,000 keys of a channel, roughly, are remembered.
            parameters: those of the name.

        Returns:
            The cursor of the message, once the store has it.

        Raises:
            ValidationError: pydantic's; the message is not of the type.
            ChannelClosed: the channel is closed (409).
            Problem: 400 for a parameter that cannot be in a name, 422 for a key that was used to
                publish something else.
            StoreError: the store could not be reached for several seconds.
        """
        return await self.publish_many((item,), key=key, **parameters)

    async def publish_many(
        self, items: Iterable[T], *, key: str | None = None, **parameters: Any
    ) -> str:
        """Publish messages together: all of them or none, with nothing in between.

        Returns the cursor of the last one. See `publish`; raises ValueError if there are none.
        """
        records = [self.record(item) for item in items]
        if not records:
            raise ValueError("there is nothing to publish")
        return str(await self._log(parameters).publish(records, key=key))

    def record(self, item: Any) -> StreamRecord:
        """Return a message as it is stored. Raises ValidationError, as `publish`."""
        data, name = self.codec.named(item)
        self.codec.parsed(data)  # else a model with a wrong attribute would end all its readers
        return StreamRecord("json", name or "", data)

    def subscribe(
        self, *, after: str | None = None, from_: From = "start", **parameters: Any
    ) -> Subscription[T]:
        """Return the messages after a cursor, and then those that are published.

        Args:
            after: a cursor of this channel.
            from_: where to begin without a cursor: `start` is the earliest that is kept, `now` is
                after the newest.
            parameters: those of the name.

        Raises:
            Problem: 400 for a wrong cursor or parameter.
        """
        if from_ not in ("start", "now"):
            raise ValueError(f"from_ must be 'start' or 'now', not {from_!r}")
        name, log = self._named(parameters)
        return Subscription(log, self.codec, parsed_cursor(after, name), from_)

    async def read(
        self, *, after: str | None = None, limit: int = 1000, **parameters: Any
    ) -> list[ChannelMessage[T]]:
        """Return the messages that there are after a cursor, at most `limit`, with their cursors.

        Raises:
            Problem: 400 for a wrong cursor or parameter, 410 if what follows the cursor is no
                longer there.
        """
        if not isinstance(limit, int) or limit < 1:
            raise ValueError(f"limit must be an int from 1, not {limit!r}")
        log = self._log(parameters)
        records = await log.records(parsed_cursor(after, log.name), limit)
        return [
            ChannelMessage(str(record.cursor), self.codec.parsed(record.record.data))
            for record in records
            if record.record.kind != "end"
        ]

    async def close(self, *, error: str | Problem | None = None, **parameters: Any) -> None:
        """Close the channel: its readers get `done`, and nothing can be published any more.

        With an error, what fails for them is what it says; a text is the detail of a 500.

        A closed channel is kept as long as an ended recording (`Limits.retention`).
        """
        problem = Problem(500, error) if isinstance(error, str) else error
        if not isinstance(problem, Problem | None):
            raise TypeError(f"the error of a channel must be a str or a Problem, not {error!r}")
        await self._log(parameters).close(problem)

    def writer(self, **parameters: Any) -> ChannelWriter[T]:
        """Return what writes the channel alone, such as a job, and ends it: see `ChannelWriter`.

        A job that is started again continues the channel, once the lease of the one that was
        killed has ended; after `interrupted` it begins anew. The store's bounds hold for such a
        channel, as for recordings, not those of this class.

        Args:
            parameters: those of the name.

        Raises:
            Problem: 400 for a wrong parameter. At the start of the block: 409 if the channel has
                ended, was published to, or has another writer.
        """
        _, log = self._named(parameters)
        return ChannelWriter(log, self.record)

    async def cancel(self, **parameters: Any) -> None:
        """Ask the writer of the channel to stop: its next `write` raises ChannelClosed."""
        log = self._log(parameters)
        await log.recordings.cancel(log.stream)

    async def delete(self, **parameters: Any) -> None:
        """Delete the channel. Its readers wait for the next message, and are told of the gap."""
        await self._log(parameters).delete()

    @staticmethod
    async def aclose() -> None:
        """Close the stores of channels in this event loop, in a program that is no app."""
        await _places.aclose()

    def _log(self, parameters: dict[str, Any]) -> ChannelLog:
        _, log = self._named(parameters)
        return log()

    def _named(self, parameters: dict[str, Any]) -> tuple[str, Callable[[], ChannelLog]]:
        """Return a name, and what gives its log in the event loop that runs then."""
        name = self._template.fill(parameters)
        return name, lambda: ChannelLog(_places.recordings_at(self._store), name, self.retention)


def channel_of(name: str) -> Channel[Any] | None:
    """Return the channel of this process, on its app's store, that has the name."""
    for channel in _channels:
        if channel._store is None and channel._template.has(name):
            return channel
    return None


def parsed_cursor(text: str | None, name: str) -> Cursor | None:
    """Return the cursor in a text, if there is one.

    Raises:
        TypeError: it is no text.
        Problem: 400 if it is no cursor, or one of another channel.
    """
    if not text:
        return None
    if not isinstance(text, str):
        raise TypeError(f"a cursor of the channel {name!r} is a str, not {text!r:.80}")
    if (cursor := Cursor.parse(text)) is None or cursor.stream != stream_of(name):
        raise Problem(400, f"{text!r:.80} is not a cursor of the channel {name!r}")
    return cursor
