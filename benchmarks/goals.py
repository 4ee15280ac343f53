"""What must hold of the figures, and whether it does; ratios are made round by round."""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["GOALS", "OURS", "Goal", "Spread", "slope", "spread"]

OURS = "ours"


@dataclass(frozen=True)
class Spread:
    """What the rounds gave: the median, the lowest and the highest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 0 if self.median >= 100 else 1 if self.median >= 10 else 2
        middle, low, high = (f"{x:.{digits}f}" for x in (self.median, self.low, self.high))
        return middle if self.low == self.high else f"{middle} [{low} to {high}]"


def spread(values: list[float]) -> Spread:
    known = [value for value in values if not math.isnan(value)] or [math.nan]
    return Spread(statistics.median(known), min(known), max(known))


@dataclass(frozen=True)
class Goal:
    """One promise: `how` makes of our figure, and of a peer's in the same round, what is bound."""

    scenario: str
    figure: str
    text: str
    how: Callable[[float, float], float]
    bound: float
    at_least: bool
    peer: str | None = None
    who: str = OURS

    def reached(self, figures: dict[str, Any]) -> Spread | None:
        """What it is; None if it was not measured."""
        of_all = figures.get(self.scenario, {}).get(self.figure, {})
        ours, theirs = of_all.get(self.who), of_all.get(self.peer or self.who)
        if not ours or not theirs:
            return None
        return spread([self.how(a, b) for a, b in zip(ours, theirs, strict=True)])

    def met(self, reached: Spread) -> bool:
        value = reached.median
        return value >= self.bound if self.at_least else value <= self.bound


def times_cheaper(ours: float, theirs: float) -> float:
    return theirs / ours


def times_theirs(ours: float, theirs: float) -> float:
    return ours / theirs


def over_theirs(ours: float, theirs: float) -> float:
    return ours - theirs


def itself(ours: float, _: float) -> float:
    return ours


def slope(by_size: dict[str, list[float]]) -> float:
    """The exponent of growth: least squares through the logarithms; 1 is linear."""
    sizes = [math.log(int(size)) for size in by_size]
    values = [math.log(statistics.median(values)) for values in by_size.values()]
    return statistics.linear_regression(sizes, values).slope


def _cheaper(scenario: str, figure: str, bounds: dict[str, float], what: str) -> list[Goal]:
    return [
        Goal(scenario, figure, f"{what}: x cheaper than {{{peer}}}", times_cheaper, k, True, peer)
        for peer, k in bounds.items()
    ]


BUSY = {"fastapi_native": 25, "ssestarlette": 7, "litestar_sse": 4, "raw_encode": 2}
SHORT = {"fastapi_native": 8, "ssestarlette": 3.5, "litestar_sse": 2, "raw_encode": 0.5}
PACED = "1,000 paced readers"
GOALS = [
    *_cheaper("busy", "CPU µs an event", {**BUSY, "raw_chunks": 0.5}, "busy stream"),
    *_cheaper("short", "CPU µs a request", SHORT, "short streams"),
    Goal(
        *("short", "first event, ms", "first event: ms later than {raw_encode}"),
        *(over_theirs, 0.3, False, "raw_encode"),
    ),
    Goal(
        *("paced", "CPU µs an event", f"{PACED}: x the CPU of {{raw_encode}}"),
        *(times_theirs, 1.8, False, "raw_encode"),
    ),
    Goal(
        *("paced", "lateness p99, ms", f"{PACED}: x the lateness (p99) of {{raw_encode}}"),
        *(times_theirs, 2, False, "raw_encode"),
    ),
    Goal("paced", "memory a connection, kB", f"{PACED}: kB a connection", itself, 30, False),
    Goal(
        *("paced", "memory a connection, kB", f"{PACED}: x the memory of {{fastapi_native}}"),
        *(times_theirs, 1, False, "fastapi_native"),
    ),
    Goal("wait", "wait p50, ms", "beside a busy stream: ms of wait, median", itself, 1, False),
    Goal("wait", "wait max, ms", "beside a busy stream: ms of wait, longest", itself, 10, False),
    *(
        goal
        for kind in ("idle", "paced", "busy")
        for goal in (
            Goal(
                *(f"vanish {kind}", "closed p50, ms", f"500 vanish, {kind}: ms to close, median"),
                *(itself, 50, False),
            ),
            Goal(
                *(f"vanish {kind}", "sources left", f"500 vanish, {kind}: sources left"),
                *(itself, 0, False),
            ),
            Goal(
                *(f"vanish {kind}", "tasks left", f"500 vanish, {kind}: tasks left"),
                *(itself, 0, False),
            ),
        )
    ),
    *(
        Goal(
            *(f"batch of {n}", "CPU µs a request", f"batch of {n} models: x {{fastapi_native}}"),
            *(times_theirs, bound, False, "fastapi_native"),
        )
        for n, bound in ((1000, 1.1), (20, 1.2))
    ),
    Goal(
        *("feed, 64 at a time", "events and readers a second"),
        *("a feed to 1,000, bursts of 64: x encoding per reader", times_theirs, 3, True),
        *("feed_each", "feed"),
    ),
    Goal(
        *("feed, one at a time", "events and readers a second"),
        *("a feed to 1,000, one at a time: x encoding per reader", times_theirs, 3, True),
        *("feed_each", "feed"),
    ),
    *(
        Goal(
            *("growth", f"{what}, exponent", f"growth by {what}: exponent (1 is linear)"),
            *(itself, 1.1, False),
        )
        for what in ("events", "readers")
    ),
]
