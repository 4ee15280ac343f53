"""The contract of a store: the `Store` protocol, and the values that its methods take and return.

A stream is a log of entries, numbered from 1 without gaps. Its writer holds a *lease* and has a
*generation*. The generation rises when another writer takes the stream over; entries of an older
generation are then refused (fencing). An entry is identified by stream, generation and sequence,
because a store that lost its last entries may give their numbers to other entries.

A stream with a *lifetime* has many writers instead: `publish` adds entries after those that are
there, without a lease. Its generation rises when the store may have lost its last entries.

To a store a payload is bytes. The packages `recordings` and `channels` know what they mean.
"""

import dataclasses
import enum
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple, Protocol

from dual_mode_streaming.errors import StoreError, StoreFull
from dual_mode_streaming.sse import EndState, State

__all__ = [
    "AppendResult",
    "Entry",
    "Limits",
    "Mark",
    "NewStream",
    "OnChange",
    "Published",
    "State",
    "Store",
    "StoreError",
    "StoreFull",
    "StreamInfo",
    "check_stream",
]

OnChange = Callable[[], None]
"""Called in the event loop when a stream may have changed. It must return at once."""

_STREAM: Final = re.compile(r"[0-9a-f]{32}")


class AppendResult(enum.Enum):
    """The result of an append."""

    OK = "the entries are stored"
    CANCEL = "the entries are stored, and the producer is asked to stop"
    FENCED = "another writer has taken the stream over: nothing is stored"
    CLOSED = "the stream has ended or does not exist: nothing is stored"
    GAP = "the store has lost entries before the first of these: nothing is stored"
    CONFLICT = "a mark is not what was expected: nothing is stored"


class Entry(NamedTuple):
    """One entry of a stream."""

    generation: int
    sequence: int
    payload: bytes


class Mark(NamedTuple):
    """What is noted in a stream under a name, and the last entry when it was set."""

    value: str
    generation: int
    sequence: int


class Published(NamedTuple):
    """The result of `Store.publish`: the last entry of the stream then, 0 and 0 if there is none.

    `marks` has the marks that were not as expected, by name.
    """

    result: AppendResult
    generation: int
    sequence: int
    marks: Mapping[str, Mark]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewStream:
    """What is fixed when a stream is created.

    Args:
        stream: the id of the stream, 32 lowercase hexadecimal digits.
        operation: the name of the operation that produces the stream.
        owner: who may see the stream.
        fingerprint: a digest of the request. Two requests with the same one are the same.
        request: the request, for a writer that takes the stream over.
        lifetime: the time in seconds after which the stream is removed, for one with many writers;
            `Store.publish` can renew it. None for a stream whose writer has a lease.
        generation: the first generation. A stream that is created again under the id of a deleted
            one needs another, so that no entry has the identity of an older one.

    Raises:
        ValueError: if `stream` is not the id of a stream.
    """

    stream: str
    operation: str
    owner: str = ""
    fingerprint: str = ""
    request: bytes = b""
    lifetime: float | None = None
    generation: int = 1

    def __post_init__(self) -> None:
        check_stream(self.stream)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """The state of a stream at one moment.

    Args:
        new: what was fixed when the stream was created.
        state: "running", or how the stream ended.
        head: the sequence of the last entry; 0 if there is none.
        earliest: the sequence of the first entry that is still stored; head + 1 if there is none.
        generations: each generation with the sequence of its first entry, in order. The last one
            is the current writer's.
        cancelling: whether the producer has been asked to stop.
        lease: the seconds until the writer's lease ends, by the clock of the store; with many
            writers, until the stream is removed.
        expired: whether the entries have been removed because of their age.
    """

    new: NewStream
    state: State
    head: int
    earliest: int
    generations: tuple[tuple[int, int], ...]
    cancelling: bool
    lease: float
    expired: bool = False

    @property
    def generation(self) -> int:
        """The generation of the current writer."""
        return self.generations[-1][0]

    @property
    def is_abandoned(self) -> bool:
        """Whether the stream is running, but its writer's lease has ended."""
        return self.state == "running" and self.lease <= 0 and self.new.lifetime is None

    def has(self, generation: int, sequence: int) -> bool:
        """Return whether there was such an entry, even if it is no longer stored.

        Sequence 0 stands for the start of the stream, in its first generation.
        """
        if sequence == 0:
            return generation == self.generations[0][0]
        last = self.head
        for number, first in reversed(self.generations):
            if number == generation:
                return first <= sequence <= last
            last = first - 1
        return False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a store. Times are in seconds, sizes in bytes of payload.

    A stream that exceeds its own limits loses its oldest entries. When the store is full, the
    stream that ended longest ago is deleted; if all streams are running, a new one is refused.

    Args:
        lease: how long a writer keeps a stream without a call to the store.
        retention: how long an ended stream is kept. After that its entries are removed; after the
            same time again the stream is deleted.
        stream_entries: the maximum number of entries of one stream.
        stream_bytes: the maximum size of one stream.
        streams: the maximum number of streams.
        total_bytes: the maximum size of all streams together.

    Raises:
        ValueError: if a limit is not a number above 0.
    """

    lease: float = 10.0
    retention: float = 3600.0
    stream_entries: int = 1_000_000
    stream_bytes: int = 64 * 1024 * 1024
    streams: int = 100_000
    total_bytes: int = 1024 * 1024 * 1024

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ValueError(f"{field.name} must be a number above 0, not {value!r}")


class Store(Protocol):
    """A place where streams are kept. Its methods may be called from any task of one event loop.

    Every method may raise StoreError if the store cannot be reached. The same call, also an
    `append`, can then be repeated safely. Methods that take the id of a stream raise ValueError if
    it is not 32 lowercase hexadecimal digits.

    A shared store should also have `renew(writers)`, called in a thread with the generation of each
    writer while the loop is busy, and `async release(stream, generation)`, which ends a lease.
    """

    limits: Limits
    shared: bool
    """Whether other processes use the same streams."""

    async def create(
        self, new: NewStream, idempotency_key: str | None = None, *, replaces: str | None = None
    ) -> str:
        """Create an empty, running stream. The caller is its writer, with generation 1.

        Args:
            new: the stream.
            idempotency_key: if a stream with the same key is still kept, it is returned.
            replaces: the stream from which the new one takes the key over.

        Returns:
            The id of the created stream, or of the one with the same idempotency key.

        Raises:
            StoreFull: if the store is at its limits and all its streams are running.
        """
        ...

    async def find(self, idempotency_key: str) -> str | None:
        """Return the id of the stream that `create` would return for this key; None if none."""
        ...

    async def append(
        self,
        stream: str,
        generation: int,
        first: int,
        payloads: Sequence[bytes],
        *,
        end: EndState | None = None,
    ) -> AppendResult:
        """Add entries to a stream and renew the writer's lease.

        When the result is OK or CANCEL, the entries are as durable as the store is. Entries that
        this generation has already added are skipped, so an append with an unknown outcome can be
        repeated.

        Args:
            stream: the id of the stream.
            generation: the generation of the writer.
            first: the sequence of the first payload.
            payloads: the entries. If there are none, only the lease is renewed.
            end: the state in which the stream ends with the last of these entries.
        """
        ...

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
        """Add entries to a stream with many writers, after those that are there.

        All of it is one step. A call with an unknown outcome can be repeated if it has a mark.

        Args:
            stream: the id of the stream.
            payloads: the entries; none to renew the lifetime, or to set marks.
            end: the state in which the stream ends with the last of these entries.
            marks: for each name what must be noted there, None for nothing, and what to note. If
                one is different, the result is CONFLICT, also after the end of the stream.
            lifetime: the new time in seconds after which the stream is removed; None changes none.
            entries: the maximum number of entries of the stream, if below that of the store.
            size: the maximum size of the stream in bytes, if below that of the store.
        """
        ...

    async def read(
        self, stream: str, after: int, *, entries: int = 1000, size: int = 1024 * 1024
    ) -> list[Entry]:
        """Return the next entries of a stream, without a gap between them.

        Args:
            stream: the id of the stream.
            after: the sequence after which to read; 0 for the start.
            entries: the maximum number of entries.
            size: the maximum size of the payloads in bytes. At least one entry is returned if
                there is one, whatever its size.
        """
        ...

    async def info(self, stream: str) -> StreamInfo | None:
        """Return the state of a stream; None if it does not exist."""
        ...

    async def cancel(self, stream: str) -> None:
        """Ask the writer to stop: its next append returns CANCEL. An ended stream is unchanged."""
        ...

    async def take_over(self, stream: str) -> int | None:
        """Become the writer of an abandoned stream.

        Returns:
            The new generation; None if the stream is not abandoned.
        """
        ...

    async def abandoned(self) -> list[str]:
        """Return the ids of running streams whose lease has ended; only some, if there are many."""
        ...

    async def delete(self, stream: str) -> None:
        """Delete a stream, even if it is running."""
        ...

    def subscribe(self, stream: str, on_change: OnChange) -> AbstractAsyncContextManager[None]:
        """Call `on_change` in the event loop when the stream may have changed.

        No change is missed after the context is entered. A call without a change is possible.
        """
        ...

    async def aclose(self) -> None:
        """Close the store and free what it holds. Durable streams stay.

        An app that is served again calls `reopen()` on its store first, if there is such a method.
        """
        ...


def check_stream(stream: str) -> str:
    """Return the id of a stream. Only a checked id becomes a key of a store.

    Raises:
        ValueError: if it is not 32 lowercase hexadecimal digits.
    """
    if not _STREAM.fullmatch(stream):
        raise ValueError(f"a stream's id is 32 lowercase hexadecimal digits, not {stream!r:.60}")
    return stream
