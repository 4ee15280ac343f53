"""The function runs its own loop, which fails if a loop is already running.

Caught by: it works in a notebook, where a loop is already running
Found: asyncio.run() cannot be called from a running event loop
"""

import asyncio
from collections.abc import AsyncIterator


def first_words(stream: AsyncIterator[str], count: int) -> list[str]:
    async def read() -> list[str]:
        words: list[str] = []
        async for word in stream:
            words.append(word)
            if len(words) == count:
                break
        return words

    return asyncio.run(read())
