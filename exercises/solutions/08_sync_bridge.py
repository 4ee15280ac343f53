"""Exercise 8: a sync bridge.

`first_words` is plain code, as in a script or a notebook: no `async`, no `await`. It is given an
async stream, and gives its first `count` words as a list. The stream may be endless. So:

- it is read no further than needed, and is closed when the function returns;
- an error of the stream is raised in the function, as it is;
- it also works in a notebook, where an event loop is running already.

Read first: examples/10_sync_bridge.py
"""

from collections.abc import AsyncIterator
from itertools import islice

from dual_mode_streaming.bridges import iterate_sync


def first_words(stream: AsyncIterator[str], count: int) -> list[str]:
    with iterate_sync(stream) as words:
        return list(islice(words, count))
