"""How does synchronous code, without `async`, read an async stream?

Seen: a plain `for` loop was enough. The stream ran in an event loop in another thread. After three
words the program left the block. The stream was cancelled and closed before the next line ran. This
also works in a notebook, where a loop is already running and `asyncio.run` is not allowed.

Try next: raise an error in `words`: the `for` loop raises it. Read the whole stream with
`collect_sync(words())`. For the opposite direction, see `from_sync` in `docs/bridges.md`.
"""

import threading
from collections.abc import AsyncIterator

from dual_mode_streaming.bridges import iterate_sync
from dual_mode_streaming.streams import stream_content


async def words() -> AsyncIterator[str]:
    print(f"stream: started, in {where()}")
    try:
        async for word in stream_content(["to", "be", "or", "not"], with_delay_sec=0.01):
            yield word
    finally:
        print(f"stream: closed, in {where()}")


def where() -> str:
    main_thread = threading.current_thread() is threading.main_thread()
    return "the main thread" if main_thread else "another thread"


def main() -> None:
    print(f"script: started, in {where()}")
    threads = threading.active_count()
    with iterate_sync(words()) as stream:
        for word in stream:
            print(f"script: {word}")
            if word == "or":
                break
    print(f"script: continuing; threads left: {threading.active_count() - threads}")


if __name__ == "__main__":
    main()
