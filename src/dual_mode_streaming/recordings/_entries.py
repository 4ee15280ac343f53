"""The records of a recorded stream: their bytes in a store, and their ids."""

import dataclasses
import re
from typing import Any, Final, Literal, NamedTuple

import pydantic_core

from dual_mode_streaming.sse import PASSING, EndState, dumps
from dual_mode_streaming.stores._base import Entry, StreamInfo

Kind = Literal["json", "event", "text", "end"]

_KINDS: Final[dict[bytes, Kind]] = {b"j": "json", b"v": "event", b"t": "text", b"e": "end"}
_LETTERS: Final = {kind: letter for letter, kind in _KINDS.items()}
_CURSOR: Final = re.compile(r"([0-9a-f]{32})\.([1-9][0-9]{0,14})\.(0|[1-9][0-9]{0,14})")


class StreamRecord(NamedTuple):
    """One record of a stream.

    Attributes:
        kind: `json` for an item, `event` or `text` for an event with JSON or text as its data,
            `end` for the end of the stream.
        name: the name of the event, empty if it has none; for an end, the state of the stream.
        data: the JSON or the text, in UTF-8.
        exact: the same JSON with NaN and infinities, for a fold, where `data` has null; empty if
            it has none.
    """

    kind: Kind
    name: str
    data: bytes
    exact: bytes = b""

    @classmethod
    def end(cls, state: EndState, data: Any) -> "StreamRecord":
        """Return the last record of a stream that ends in `state`, with `data` as JSON."""
        return cls("end", state, dumps(data))

    @property
    def is_error(self) -> bool:
        """Whether this is the end of a stream that failed."""
        return self.kind == "end" and self.name == "error"

    @property
    def is_passing_failure(self) -> bool:
        """Whether this is the end of a stream that its worker or a failure of `PASSING` ended."""
        if self.is_error:
            return pydantic_core.from_json(self.data).get("status") in PASSING
        return self.kind == "end" and self.name == "interrupted"

    def pack(self) -> bytes:
        """Return the record as the payload of an entry. The name must not contain a line end."""
        letter = _LETTERS[self.kind]
        if self.exact:  # JSON is on one line
            return b"%b%b\n%b\n%b" % (letter.upper(), self.name.encode(), self.data, self.exact)
        return b"%b%b\n%b" % (letter, self.name.encode(), self.data)

    @classmethod
    def unpack(cls, payload: bytes) -> "StreamRecord":
        """Return the record that `pack` made into this payload.

        Raises:
            ValueError: the payload is not a record.
        """
        head, newline, data = payload.partition(b"\n")
        kind = _KINDS.get(head[:1])
        exact = b""
        if kind is None and (kind := _KINDS.get(head[:1].lower())) is not None:
            data, _, newline = data.partition(b"\n")
            exact = newline  # it is there, or it is no such record
        if kind is None or not newline:
            raise ValueError(f"the payload {payload[:40]!r} is not a record of a stream")
        return cls(kind, head[1:].decode(), data, exact)


class Cursor(NamedTuple):
    """The id of a record, `<stream>.<generation>.<sequence>`.

    Sequence 0 is the position before the first record.
    """

    stream: str
    generation: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.stream}.{self.generation}.{self.sequence}"

    @classmethod
    def at(cls, info: StreamInfo, sequence: int) -> "Cursor":
        """Return the cursor of a sequence in a stream, with the generation that wrote it."""
        found = info.generations[0][0]
        for generation, first in info.generations:
            if first <= sequence:
                found = generation
        return cls(info.new.stream, found, sequence)

    @classmethod
    def parse(cls, text: str) -> "Cursor | None":
        """Return the cursor that a text contains; None if the text is not a cursor."""
        found = _CURSOR.fullmatch(text)
        return None if found is None else cls(found[1], int(found[2]), int(found[3]))


@dataclasses.dataclass(slots=True)
class StoredRecord:
    """A record with its id.

    Attributes:
        cursor: the id.
        record: the record.
        frame: a place for the rendered record, bytes of a recording or an event of a channel. The
            readers in one process share it.
    """

    cursor: Cursor
    record: StreamRecord
    frame: Any = dataclasses.field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, stream: str, entry: Entry) -> "StoredRecord":
        """Return the record of a store's entry. Raises ValueError if it is not a record."""
        cursor = Cursor(stream, entry.generation, entry.sequence)
        return cls(cursor, StreamRecord.unpack(entry.payload))


@dataclasses.dataclass(frozen=True, slots=True)
class Gap:
    """Records are missing after a reader's cursor; the next record is the earliest that is kept.

    Attributes:
        reason: `trimmed` if the records were removed because of a limit of the store, `rewritten`
            if the stream has no such record: the store lost it, or it never existed.
        requested: the cursor of the reader.
        earliest: the cursor of the earliest record that is kept.
        head: the cursor of the last record.
    """

    reason: Literal["trimmed", "rewritten"]
    requested: Cursor
    earliest: Cursor
    head: Cursor

    @classmethod
    def of(cls, info: StreamInfo, requested: Cursor) -> "Gap":
        """Return the gap after a cursor that the stream does not have, or has no more."""
        reason: Literal["trimmed", "rewritten"] = "rewritten"
        if info.has(requested.generation, requested.sequence):
            reason = "trimmed"
        return cls(reason, requested, Cursor.at(info, info.earliest), Cursor.at(info, info.head))

    def as_json(self) -> dict[str, str]:
        """Return the data of the `reset` event."""
        return {
            "reason": self.reason,
            "requested": str(self.requested),
            "earliest": str(self.earliest),
            "head": str(self.head),
        }
