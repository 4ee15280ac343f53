"""The statistics of a benchmark, in memory that does not grow with the number of values."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_BUCKET = math.log(1.01)
_PERCENTILES = (50, 95, 99)


class Distribution:
    """The distribution of durations, counted in buckets that are one percent wide."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count a duration; one under a microsecond counts as a microsecond."""
        self.count += 1
        self.longest = max(self.longest, seconds)
        self._buckets[math.floor(math.log(max(seconds, 1e-6)) / _BUCKET)] += 1

    def percentile(self, percent: float) -> float | None:
        """Return the percentile (nearest rank) in seconds; None without values."""
        rank = max(1, math.ceil(self.count * percent / 100))
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                return min(math.exp((bucket + 0.5) * _BUCKET), self.longest)
        return None

    def milliseconds(self) -> dict[str, float | int | None]:
        """Return the count, the percentiles and the maximum, in milliseconds."""
        values: dict[str, float | int | None] = {"count": self.count}
        for percent in _PERCENTILES:
            values[f"p{percent}"] = _milliseconds(self.percentile(percent))
        values["max"] = _milliseconds(self.longest) if self.count else None
        return values


@dataclass
class LoadStatistics:
    """What a load has measured.

    Attributes:
        first: from the request to the first event; a batch has no events.
        between: from one event to the next.
        total: from the request to the end of a complete answer.
        unfinished: answers that still ran at the end; they are not errors.
        events: the number of events.
        bytes: the size of all response bodies.
        errors: the number of errors of each kind.
        seconds: the duration of the load.
    """

    first: Distribution = field(default_factory=Distribution)
    between: Distribution = field(default_factory=Distribution)
    total: Distribution = field(default_factory=Distribution)
    unfinished: int = 0
    events: int = 0
    bytes: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """The number of errors."""
        return self.errors.total()

    def as_json(self) -> dict[str, Any]:
        """Return all statistics; durations are in milliseconds."""
        seconds = self.seconds or 1.0
        return {
            "seconds": round(self.seconds, 3),
            "answers": self.total.count,
            "answers_per_second": round(self.total.count / seconds, 2),
            "unfinished": self.unfinished,
            "events": self.events,
            "events_per_second": round(self.events / seconds, 2),
            "bytes": self.bytes,
            "errors": self.failed,
            "errors_by_kind": dict(self.errors.most_common()),
            "milliseconds": {
                "first_event": self.first.milliseconds(),
                "between_events": self.between.milliseconds(),
                "total": self.total.milliseconds(),
            },
        }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{seconds * 1000:.4g}")
