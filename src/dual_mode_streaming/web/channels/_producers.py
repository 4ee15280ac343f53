"""Idempotent producers and `Stream-Seq`: which marks a publish expects, and when it is refused."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.web.channels._protocol import number_of

_HEADERS: Final = ("producer-id", "producer-epoch", "producer-seq")
_SEQUENCE: Final = "s"
_LONGEST: Final = 256

Marks = dict[str, tuple[str | None, str]]


class Duplicate(Exception):
    """The producer has sent this before; `sequence` is the last that was accepted of it."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence


@dataclass(frozen=True, slots=True)
class WriteConditions:
    """What the headers of an append ask for.

    Attributes:
        producer: the id of the producer; None if there is none.
        epoch: its epoch.
        sequence: the number of this append in the epoch.
        order: `Stream-Seq`, which must grow as text; None if there is none. It is one for the
            channel, whoever writes.
    """

    producer: str | None = None
    epoch: int = 0
    sequence: int = 0
    order: str | None = None

    @classmethod
    def of(cls, request: Request) -> "WriteConditions":
        """Return the conditions of a request. Raises Problem: 400 if they are wrong."""
        order = request.headers.get("stream-seq")
        given = [request.headers.get(name) for name in _HEADERS]
        if any(len(each or "") > _LONGEST for each in (order, given[0])):
            raise Problem(400, f"Stream-Seq and Producer-Id have at most {_LONGEST} characters")
        producer, epoch, sequence = given
        if producer is None and epoch is None and sequence is None:
            return cls(order=order)
        if not producer or epoch is None or sequence is None:
            raise Problem(400, "Producer-Id, Producer-Epoch and Producer-Seq come together")
        return cls(
            producer,
            number_of(epoch, "Producer-Epoch"),
            number_of(sequence, "Producer-Seq"),
            order,
        )

    @property
    def _mark(self) -> str:
        return "p" + hashlib.sha256((self.producer or "").encode()).hexdigest()[:32]

    def first_guess(self) -> dict[str, str]:
        """Return the marks as they should be, if all goes well."""
        if self.producer is None or not self.sequence:
            return {}
        return {self._mark: f"{self.epoch}.{self.sequence - 1}"}

    def marks(self, held: Mapping[str, str]) -> Marks:
        """Return what to expect and to set, with these marks in the channel.

        Raises:
            Duplicate: it was appended before.
            Problem: 403 for an older epoch, 400 for a new one that does not begin with 0, 409 for
                a gap in the sequence, or if `Stream-Seq` does not grow.
        """
        marks: Marks = {}
        if self.producer is not None:
            before = held.get(self._mark)
            self._check(before)
            marks[self._mark] = before, f"{self.epoch}.{self.sequence}"
        if self.order is not None:
            last = held.get(_SEQUENCE)
            if last is not None and self.order.encode() <= last.encode():
                raise Problem(409, f"Stream-Seq must be above {last!r}")
            marks[_SEQUENCE] = last, self.order
        return marks

    def _check(self, before: str | None) -> None:
        epoch, last = (self.epoch, -1) if before is None else map(int, before.split("."))
        if self.epoch < epoch:
            headers = {"producer-epoch": str(epoch)}
            raise Problem(403, f"the producer has the epoch {epoch} now", headers=headers)
        if self.epoch > epoch:
            if self.sequence:
                raise Problem(400, "a new Producer-Epoch begins with Producer-Seq 0")
        elif self.sequence <= last:
            raise Duplicate(last)
        elif self.sequence > last + 1:
            headers = {
                "producer-expected-seq": str(last + 1),
                "producer-received-seq": str(self.sequence),
            }
            raise Problem(409, f"Producer-Seq should be {last + 1}", headers=headers)

    def headers(self, sequence: int | None = None) -> dict[str, str]:
        """Return the headers of an accepted append."""
        if self.producer is None:
            return {}
        last = self.sequence if sequence is None else sequence
        return {"producer-epoch": str(self.epoch), "producer-seq": str(last)}
