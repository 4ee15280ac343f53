"""How does plain code, without `async`, read an async stream?

Seen: a plain `for` was enough. The stream runs in an event loop in a thread of its own; when the
block was left after three words, it was cancelled there and closed, before the next line ran. That
also works in a notebook, where a loop runs already and `asyncio.run` is refused.

Try next: raise an error in `words`: it arrives in the `for`. Read the same stream to its end by
`collect_sync(words())`. Go the other way with `from_sync`: `docs/bridges.md`.
"""

import threading
from collections.abc import AsyncIterator

from dual_mode_streaming.bridges import iterate_sync
from dual_mode_streaming.streams import stream_content


async def words() -> AsyncIterator[str]:
    print(f"stream: I begin, in {where()}")
    try:
        async for word in stream_content(["to", "be", "or", "not"], with_delay_sec=0.01):
            yield word
    finally:
        print(f"stream: I am closed, in {where()}")


def where() -> str:
    main_thread = threading.current_thread() is threading.main_thread()
    return "the main thread" if main_thread else "another thread"


def main() -> None:
    print(f"script: I begin, in {where()}")
    threads = threading.active_count()
    with iterate_sync(words()) as stream:
        for word in stream:
            print(f"script: {word}")
            if word == "or":
                break
    print(f"script: I go on; threads left over: {threading.active_count() - threads}")


if __name__ == "__main__":
    main()
