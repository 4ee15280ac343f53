"""The simulator's tokens: a word of up to 8 letters with the space before it, or one character."""

import re
from collections.abc import Iterable
from typing import Final

_TOKEN: Final = re.compile(r"\s*[^\W_]{1,8}|\s*[^\s]|\s+$")

_COUNTED: Final = 100_000
"""The characters of a text that are counted: megabytes would hold the event loop."""


def tokens_of(text: str) -> list[str]:
    """Split a text into tokens; joined, they are the text."""
    return _TOKEN.findall(text)


def count_texts(texts: Iterable[str]) -> int:
    """Return the number of tokens of texts; of long ones, as their beginning has them."""
    tokens = shown = whole = 0
    for text in texts:
        whole += len(text)
        if shown < _COUNTED:
            beginning = text[: _COUNTED - shown]
            shown += len(beginning)
            tokens += len(tokens_of(beginning))
    return tokens * whole // max(1, shown)


def count_text(text: str) -> int:
    """Return the number of tokens of a text; of a long one, as its beginning has them."""
    return count_texts((text,))
