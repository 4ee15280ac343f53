"""The simulator's tokens: a word of up to 8 letters with the space before it, or one character."""

import re
from typing import Final

_TOKEN: Final = re.compile(r"\s*[^\W_]{1,8}|\s*[^\s]|\s+$")

_COUNTED: Final = 100_000
"""The characters of a text that are counted: megabytes would hold the event loop."""


def tokens_of(text: str) -> list[str]:
    """Split a text into tokens; joined, they are the text."""
    return _TOKEN.findall(text)


def count_text(text: str) -> int:
    """Return the number of tokens of a text; of a long one, as its beginning has them."""
    shown = text[:_COUNTED]
    return len(tokens_of(shown)) * len(text) // max(1, len(shown))
