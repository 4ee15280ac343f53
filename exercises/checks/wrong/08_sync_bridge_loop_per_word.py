"""The function runs a loop for each word, and does not close the stream.

Caught by: the stream is closed when the function returns
Found: begun
"""

import asyncio
from collections.abc import AsyncIterator


def first_words(stream: AsyncIterator[str], count: int) -> list[str]:
    loop = asyncio.new_event_loop()
    try:
        return [loop.run_until_complete(anext(stream)) for _ in range(count)]
    finally:
        loop.close()
