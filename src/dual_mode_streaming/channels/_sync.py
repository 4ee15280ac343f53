"""Channels for code without an event loop: it runs where the app serves, or in a thread."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dual_mode_streaming.bridges._own_thread import OwnThread
from dual_mode_streaming.channels import _places
from dual_mode_streaming.channels._log import ChannelMessage
from dual_mode_streaming.channels._subscription import From
from dual_mode_streaming.channels._writer import ChannelWriter
from dual_mode_streaming.errors import Problem

if TYPE_CHECKING:
    from dual_mode_streaming.channels._channel import Channel

T = TypeVar("T")
R = TypeVar("R")


class SyncChannel(Generic[T]):
    """The methods of a `Channel` for threads: the same arguments, results and exceptions.

    Where an app serves in this process they run in its event loop, else in one of their own.
    """

    def __init__(self, channel: "Channel[T]") -> None:
        self._channel = channel

    def publish(self, item: T, *, key: str | None = None, **parameters: Any) -> str:
        """See `Channel.publish`."""
        return _run(lambda: self._channel.publish(item, key=key, **parameters))

    def publish_many(self, items: Iterable[T], *, key: str | None = None, **parameters: Any) -> str:
        """See `Channel.publish_many`."""
        return _run(lambda: self._channel.publish_many(items, key=key, **parameters))

    def read(
        self, *, after: str | None = None, limit: int = 1000, **parameters: Any
    ) -> list[ChannelMessage[T]]:
        """See `Channel.read`."""
        return _run(lambda: self._channel.read(after=after, limit=limit, **parameters))

    def subscribe(
        self, *, after: str | None = None, from_: From = "start", **parameters: Any
    ) -> Iterator[T]:
        """See `Channel.subscribe`.

        In a plain generator under `dual_mode` it ends when the client leaves.
        """
        subscription = self._channel.subscribe(after=after, from_=from_, **parameters)

        async def following() -> list[T]:
            async for item in subscription:
                return [item]
            return []

        try:
            while items := _run(following, ends_with_its_generator=True):
                yield from items
        finally:
            _run(subscription.aclose)

    def close(self, *, error: str | Problem | None = None, **parameters: Any) -> None:
        """See `Channel.close`."""
        _run(lambda: self._channel.close(error=error, **parameters))

    def writer(self, **parameters: Any) -> "SyncWriter[T]":
        """See `Channel.writer`; its block is a `with`."""
        return SyncWriter(self._channel.writer(**parameters))

    def cancel(self, **parameters: Any) -> None:
        """See `Channel.cancel`."""
        _run(lambda: self._channel.cancel(**parameters))

    def delete(self, **parameters: Any) -> None:
        """See `Channel.delete`."""
        _run(lambda: self._channel.delete(**parameters))

    @staticmethod
    def aclose() -> None:
        """Close the stores of channels of this program, unless an app has opened them.

        At the end of the process it happens by itself.
        """
        _places.close_thread()


class SyncWriter(Generic[T]):
    """A `ChannelWriter` for code without an event loop. Its lease is renewed in another thread."""

    def __init__(self, writer: ChannelWriter[T]) -> None:
        self._writer = writer

    @property
    def written(self) -> int:
        """How many messages the channel has: see `ChannelWriter`."""
        return self._writer.written

    @property
    def cursor(self) -> str:
        """The cursor of the last message; "" before the first."""
        return self._writer.cursor

    def write(self, *items: T) -> str:
        """See `ChannelWriter.write`."""
        return _run(lambda: self._writer.write(*items))

    def __enter__(self) -> "SyncWriter[T]":
        _run(self._writer.__aenter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _run(lambda: self._writer.__aexit__(kind, error, traceback))


def _run(call: Callable[[], Coroutine[Any, Any, R]], *, ends_with_its_generator: bool = False) -> R:
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    loop, thread = _places.app_loop(), threading.current_thread()
    if running is not None:
        raise RuntimeError("`channel.sync` would block the event loop: await the channel's methods")
    if ends_with_its_generator and isinstance(thread, OwnThread):
        return thread.wait_for(call, loop or _places.thread().loop)
    if loop is None:
        return _places.thread().run(call())
    return asyncio.run_coroutine_threadsafe(call(), loop).result()
