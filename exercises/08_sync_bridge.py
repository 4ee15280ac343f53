"""Exercise 8: a sync bridge.

`first_words` is synchronous code, as in a script or a notebook: no `async`, no `await`. It takes an
async stream, and returns its first `count` words as a list. The stream may be endless. So:

- the stream is read no further than needed, and is closed when the function returns;
- the function raises an error of the stream unchanged;
- it also works in a notebook, where an event loop is already running.

Read first: examples/10_sync_bridge.py
"""

from collections.abc import AsyncIterator
from itertools import islice

from dual_mode_streaming.bridges import iterate_sync


def first_words(stream: AsyncIterator[str], count: int) -> list[str]:
    # TODO: read the stream with a plain `for` loop, stop in time, and leave nothing open.
    raise NotImplementedError("TODO: read the first words with a plain `for` loop")
