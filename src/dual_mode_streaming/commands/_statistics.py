"""The figures of a benchmark, in memory that does not grow with what is measured."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Figures", "Spread"]

_STEP = math.log(1.01)
_PERCENTILES = (50, 95, 99)


class Spread:
    """How durations are spread, within one percent: they are counted in steps of that size."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._steps: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one. What is shorter than a microsecond counts as that."""
        self.count += 1
        self.longest = max(self.longest, seconds)
        self._steps[math.floor(math.log(max(seconds, 1e-6)) / _STEP)] += 1

    def percentile(self, percent: float) -> float | None:
        """So many of a hundred were not longer (the nearest rank); None if there are none."""
        rank = max(1, math.ceil(self.count * percent / 100))
        for step in sorted(self._steps):
            rank -= self._steps[step]
            if rank <= 0:
                return min(math.exp((step + 0.5) * _STEP), self.longest)
        return None

    def milliseconds(self) -> dict[str, float | int | None]:
        """The count, the percentiles and the longest, in milliseconds."""
        told: dict[str, float | int | None] = {"count": self.count}
        for percent in _PERCENTILES:
            told[f"p{percent}"] = _milliseconds(self.percentile(percent))
        told["max"] = _milliseconds(self.longest) if self.count else None
        return told


@dataclass
class Figures:
    """What a benchmark has measured.

    first: from the request to the first event. (Of a batch there are none, and no events.)
    between: from one event to the next. total: from the request to the end of a whole answer.
    unfinished: answers that still ran when the time was up; no errors.
    errors: how many there were, by what they say.
    """

    first: Spread = field(default_factory=Spread)
    between: Spread = field(default_factory=Spread)
    total: Spread = field(default_factory=Spread)
    unfinished: int = 0
    events: int = 0
    bytes: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """How many answers were errors."""
        return self.errors.total()

    def as_json(self) -> dict[str, Any]:
        """All of it; durations are in milliseconds."""
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
