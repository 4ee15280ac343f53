"""What the stores have in common about generations, and about streams with many writers."""

import secrets
from typing import Final

MARKS: Final = 10_000
"""How many marks of a stream are remembered: the newest. Roughly, so that it costs little."""

FOREVER: Final = 3e9
"""The longest lifetime of a stream, in seconds: a century."""


def next_step() -> int:
    """Return how far the next generation of a stream is.

    It is random: the store may also lose the entries of that generation, and begin it again.
    """
    return 1 + secrets.randbelow(10**9)
