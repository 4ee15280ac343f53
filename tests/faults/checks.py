"""What is wrong with what a reader was given, as counts: what chaos and the soak add up."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

WRONG = ("lost", "duplicated", "reordered")


def differences(given: Sequence[int], due: int, first: int = 0) -> Counter[str]:
    """Compare numbers as they came with those that are due, `due` of them from `first` on."""
    return Counter(
        lost=due - len(set(given) & set(range(first, first + due))),
        duplicated=len(given) - len(set(given)),
        reordered=sum(after < before for before, after in pairwise(given)),
    )
