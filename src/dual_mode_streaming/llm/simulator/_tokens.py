"""The simulator's tokens: a word of up to 8 letters with the space before it, or one character."""

import re
from typing import Final

_TOKEN: Final = re.compile(r"\s*[^\W_]{1,8}|\s*[^\s]|\s+$")


def tokens_of(text: str) -> list[str]:
    """Split a text into tokens; joined, they are the text."""
    return _TOKEN.findall(text)


def count_text(text: str) -> int:
    """Return the number of tokens of a text."""
    return len(tokens_of(text))
