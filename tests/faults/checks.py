"""Compare what a reader received with what was due; used by the chaos and soak tests."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

WRONG = ("lost", "duplicated", "reordered")


def differences(given: Sequence[int], due: int, first: int = 0) -> Counter[str]:
    """Count what is wrong in `given`, where `due` consecutive numbers from `first` on are right."""
    return Counter(
        lost=due - len(set(given) & set(range(first, first + due))),
        duplicated=len(given) - len(set(given)),
        reordered=sum(after < before for before, after in pairwise(given)),
    )
