"""Whether a measure rises over time, and how sure that is."""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple


class Slope(NamedTuple):
    """A rise in units an hour, with half the width of its 95% interval."""

    an_hour: float
    margin: float

    def exceeds(self, allowed: float) -> bool:
        """It rises faster than allowed, even at the lower end of the interval."""
        return self.an_hour - self.margin > allowed

    def __str__(self) -> str:
        return f"{self.an_hour:+.1f} ± {self.margin:.1f} MB/h"


def slope(samples: Sequence[tuple[float, float]]) -> Slope:
    """The line of least squares through (seconds, MB).

    Neighbouring samples resemble each other, and are worth less than as many that are independent:
    the margin grows with the correlation of the residuals (the usual correction for AR(1)).
    """
    if len(samples) < 3:
        return Slope(0.0, math.inf)
    middle, level = fmean(x for x, _ in samples), fmean(y for _, y in samples)
    spread = sum((x - middle) ** 2 for x, _ in samples)
    rise = sum((x - middle) * (y - level) for x, y in samples) / spread
    rests = [y - level - rise * (x - middle) for x, y in samples]
    squares = sum(rest**2 for rest in rests)
    if not squares:
        return Slope(rise * 3600, 0.0)
    alike = sum(a * b for a, b in pairwise(rests)) / squares
    alike = min(max(alike, 0.0), 0.99)
    error = math.sqrt(squares / (len(samples) - 2) / spread * (1 + alike) / (1 - alike))
    return Slope(rise * 3600, 1.96 * error * 3600)
