"""An error is treated as the end.

Caught by: an error of the stream is raised in the function
Found: ['to', 'be'], and no error
"""

from collections.abc import AsyncIterator
from itertools import islice

from dual_mode_streaming.bridges import iterate_sync


def first_words(stream: AsyncIterator[str], count: int) -> list[str]:
    taken: list[str] = []
    with iterate_sync(stream) as words:
        try:
            taken.extend(islice(words, count))
        except Exception:
            pass
    return taken
