"""How do several streams become one, and one stream several?

Seen: `merge` gives each item as soon as it arrives. `concat` keeps the order: all items of the
first stream, then all of the second. The second ran at the same time, so its items were ready at
once. `split` gives every item to both branches.

Try next: let one source raise an error, and see when each operator raises it. Use `streams.zip`.
Yield from `merge` in an endpoint. `docs/streams.md` has a diagram of every operator.
"""

import asyncio
from collections.abc import AsyncIterable

from dual_mode_streaming.streams import Stream, concat, merge, split, stream_content
from dual_mode_streaming.testing import run_with_virtual_clock


def letters() -> Stream[str]:
    return stream_content("abc", with_delay_sec=2, delay_end=False)


def digits() -> Stream[str]:
    return stream_content("123", with_delay_sec=1.25, delay_first=True, delay_end=False)


async def show(stream: AsyncIterable[str], name: str) -> None:
    """Print the items, and the seconds until each arrived."""
    start = asyncio.get_running_loop().time()
    seen = []
    async for item in stream:
        seen.append(f"{item} at {asyncio.get_running_loop().time() - start:.2f}")
    print(f"{name:18} {', '.join(seen)}")


async def main() -> None:
    await show(letters(), "letters")
    await show(digits(), "digits")
    await show(merge(letters(), digits()), "merge")
    await show(concat(letters(), digits()), "concat")

    # Both branches must be read at the same time: here, by two tasks.
    one, two = split(letters())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(show(one, "split, a branch"))
        tasks.create_task(show(two, "split, another"))


if __name__ == "__main__":
    run_with_virtual_clock(main())
