"""What a recorded stream is made of: its records, as bytes for a store, and the ids they go by."""

import dataclasses
import re
from typing import Any, Final, Literal, NamedTuple

from dual_mode_streaming.sse import EndState, dumps
from dual_mode_streaming.stores._base import Entry, StreamInfo

__all__ = ["Cursor", "Lost", "Record", "Recorded"]

Kind = Literal["json", "event", "text", "end"]

_KINDS: Final[dict[bytes, Kind]] = {b"j": "json", b"v": "event", b"t": "text", b"e": "end"}
_LETTERS: Final = {kind: letter for letter, kind in _KINDS.items()}
_CURSOR: Final = re.compile(r"([0-9a-f]{32})\.([1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,14})")


class Record(NamedTuple):
    """One record: an item as JSON, an event's data as JSON or text, or the end with its state.

    `name` is the event's name (empty: none), or the state of the end.
    """

    kind: Kind
    name: str
    data: bytes

    @classmethod
    def end(cls, state: EndState, data: Any) -> "Record":
        """The last record of a stream."""
        return cls("end", state, dumps(data))

    @property
    def is_error(self) -> bool:
        """It is the end of a stream that failed."""
        return self.kind == "end" and self.name == "error"

    def pack(self) -> bytes:
        """The record as a payload. A name holds no line end: no event's does."""
        return b"%b%b\n%b" % (_LETTERS[self.kind], self.name.encode(), self.data)

    @classmethod
    def unpack(cls, payload: bytes) -> "Record":
        """The record of a payload. Raises ValueError if there is none in it."""
        head, newline, data = payload.partition(b"\n")
        kind = _KINDS.get(head[:1])
        if kind is None or not newline:
            raise ValueError(f"no record: {payload[:40]!r}")
        return cls(kind, head[1:].decode(), data)


class Cursor(NamedTuple):
    """The id of a record: `<stream>.<generation>.<sequence>`; sequence 0 is before the first."""

    stream: str
    generation: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.stream}.{self.generation}.{self.sequence}"

    @classmethod
    def at(cls, info: StreamInfo, sequence: int) -> "Cursor":
        """The place of a sequence in a stream, whoever wrote it."""
        found = info.generations[0][0]
        for generation, first in info.generations:
            if first <= sequence:
                found = generation
        return cls(info.new.stream, found, sequence)

    @classmethod
    def parse(cls, text: str) -> "Cursor | None":
        """The cursor that a text is; None if it is none."""
        found = _CURSOR.fullmatch(text)
        return None if found is None else cls(found[1], int(found[2]), int(found[3]))


@dataclasses.dataclass(slots=True)
class Recorded:
    """A record where it stands. `frame` is for who renders it: all readers of a tail share it."""

    cursor: Cursor
    record: Record
    frame: bytes | None = dataclasses.field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, stream: str, entry: Entry) -> "Recorded":
        """The record of a store's entry."""
        cursor = Cursor(stream, entry.generation, entry.sequence)
        return cls(cursor, Record.unpack(entry.payload))


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    """What a reader is told whose place in the history is not there: trimmed, or rewritten.

    `requested` is where it was; what follows begins with `earliest`.
    """

    reason: Literal["trimmed", "rewritten"]
    requested: Cursor
    earliest: Cursor
    head: Cursor

    @classmethod
    def of(cls, info: StreamInfo, requested: Cursor) -> "Lost":
        """What is lost to a reader at `requested`, which the stream does not have, or no longer."""
        reason: Literal["trimmed", "rewritten"] = "rewritten"
        if info.has(requested.generation, requested.sequence):
            reason = "trimmed"
        return cls(reason, requested, Cursor.at(info, info.earliest), Cursor.at(info, info.head))

    def as_json(self) -> dict[str, str]:
        """As the data of a `reset`."""
        return {
            "reason": self.reason,
            "requested": str(self.requested),
            "earliest": str(self.earliest),
            "head": str(self.head),
        }
