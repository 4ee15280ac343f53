"""The simulator's tokens: words with the space before them, long ones in pieces."""

import re
from typing import Final

__all__ = ["count_text", "tokens_of"]

_TOKEN: Final = re.compile(r"\s*[^\W_]{1,8}|\s*[^\s]|\s+$")


def tokens_of(text: str) -> list[str]:
    """The text in pieces; joined, they are the text."""
    return _TOKEN.findall(text)


def count_text(text: str) -> int:
    """How many tokens a text has."""
    return len(tokens_of(text))
