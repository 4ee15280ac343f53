"""What a store is: the place where the entries of recorded streams live, and the rules of writing.

A stream is a log of entries, numbered from 1 without gaps. Who writes it holds its *lease* and has
a *generation*, which rises when another takes the stream over: the entries of the one before are
refused from then on (fenced). An id names both, `<stream>.<generation>.<sequence>`, since a store
that lost its tail may be given other entries under the same numbers.

To the store a payload is bytes; `recordings` knows what is in them.
"""

import dataclasses
import enum
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Literal, NamedTuple, Protocol

from dual_mode_streaming.errors import ServingError

__all__ = [
    "Durability",
    "Entry",
    "Info",
    "Limits",
    "New",
    "State",
    "Store",
    "StoreError",
    "StoreFull",
    "Verdict",
    "check_stream",
]

State = Literal["running", "done", "error", "cancelled", "interrupted"]
"""How it is with a stream. The last four are ends, and an end is also the stream's last entry."""

Durability = Literal["memory", "crash", "power", "replicated"]
"""What an acknowledged entry survives: nothing, the process' death, a power cut, a machine's."""

_STREAM: Final = re.compile(r"[0-9a-f]{32}")


class StoreError(ServingError):
    """A store could not do what it was asked; it may be able to later."""


class StoreFull(StoreError):
    """A store has all the streams or bytes that it may have, and none that it could forget."""


class Verdict(enum.Enum):
    """What became of an append."""

    OK = "it is kept"
    CANCEL = "it is kept, and somebody asks the producer to stop"
    FENCED = "another has taken the stream over: nothing is kept"
    CLOSED = "the stream has ended, or is gone: nothing is kept"
    GAP = "the store has lost entries before the first of these: nothing is kept"


class Entry(NamedTuple):
    """One entry of a stream."""

    generation: int
    sequence: int
    payload: bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """A stream to be made: what is known of it from the start, and never changes.

    `stream` is its id, 32 hexadecimal digits; `operation` names what makes it, `owner` who may see
    it, `fingerprint` stands for all that was asked, and `request` is what a takeover needs to ask
    the same again.
    """

    stream: str
    operation: str
    owner: str = ""
    fingerprint: str = ""
    request: bytes = b""

    def __post_init__(self) -> None:
        check_stream(self.stream)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """How it is with a stream.

    `head` is the sequence of its last entry (0: none), `earliest` that of the first it still has
    (head + 1: none). `starts` are the generations with their first sequences, in order; the last is
    who writes now. `lease` are the seconds for which the writer's lease still holds, by the store's
    clock. `expired`: the entries are gone for their age, and the stream is only remembered.
    """

    new: New
    state: State
    head: int
    earliest: int
    starts: tuple[tuple[int, int], ...]
    cancelling: bool
    lease: float
    expired: bool = False

    @property
    def generation(self) -> int:
        """Of who writes now."""
        return self.starts[-1][0]

    @property
    def is_abandoned(self) -> bool:
        """It should be running, and nobody writes it."""
        return self.state == "running" and self.lease <= 0

    def has(self, generation: int, sequence: int) -> bool:
        """Whether there was an entry of that id, kept still or not; 0 is the beginning of all."""
        if sequence == 0:
            return generation == self.starts[0][0]
        last = self.head
        known = False
        for number, first in reversed(self.starts):
            if number == generation:
                known = first <= sequence <= last
                break
            last = first - 1
        return known


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of a store. Times are seconds, sizes bytes of payload.

    A stream that grows beyond its bounds loses its oldest entries. Beyond the bounds of all, the
    stream that ended longest ago is forgotten; if all are running, a new one is refused.
    """

    lease: float = 10.0
    """A writer that is not heard of for so long has lost the stream."""

    retention: float = 3600.0
    """An ended stream is kept for so long, and then remembered as expired for as long again."""

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
    """Where streams live. All methods may be called from any task of one event loop.

    Every method may raise StoreError (StoreFull: `create`), when the store cannot be reached: the
    same call may then be made again, an `append` too. ValueError for an id that is none.
    """

    limits: Limits
    durability: Durability
    shared: bool
    """Whether other processes have the same streams."""

    async def create(self, new: New, claim: str | None = None) -> str:
        """Make a stream: running, empty, and the caller is its writer, of generation 1.

        Out: its id. With a `claim`, and if another stream of that claim is still kept, nothing is
        made and the id is that stream's.
        """
        ...

    async def append(
        self,
        stream: str,
        generation: int,
        first: int,
        payloads: Sequence[bytes],
        *,
        end: State | None = None,
    ) -> Verdict:
        """Add entries from sequence `first` on, and renew the lease; with `end`, end the stream.

        When it returns OK they are as durable as the store is. Entries that this generation has
        added before are left out, so that an append whose outcome is unknown can be made again.
        No payloads: only the lease is renewed.
        """
        ...

    async def read(
        self, stream: str, after: int, *, entries: int = 1000, size: int = 1024 * 1024
    ) -> list[Entry]:
        """The entries after a sequence, as many as there are and fit; none if there are none.

        At least one is given if there is one, and none is left out between two of them.
        """
        ...

    async def info(self, stream: str) -> Info | None:
        """How it is with a stream; None if there is none, or no longer."""
        ...

    async def cancel(self, stream: str) -> None:
        """Ask the writer to stop: its next append says CANCEL. Nothing if it has ended."""
        ...

    async def take_over(self, stream: str) -> int | None:
        """Become the writer of an abandoned stream. Out: the new generation; None if it is not."""
        ...

    async def abandoned(self) -> list[str]:
        """Streams that have not ended, and that nobody writes any more; some of them, if many."""
        ...

    async def delete(self, stream: str) -> None:
        """Forget a stream, whether it has ended or not."""
        ...

    def listening(self, stream: str, ring: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """`ring` is called, in the event loop, when there may be news of the stream.

        Once the context is entered no news is missed; it may ring without any.
        """
        ...

    async def aclose(self) -> None:
        """Let go of everything; what is durable stays."""
        ...


def check_stream(stream: str) -> str:
    """The id, if it is one; no other string becomes a key. Raises ValueError."""
    if not _STREAM.fullmatch(stream):
        raise ValueError(f"a stream's id is 32 hexadecimal digits, not {stream!r:.60}")
    return stream
