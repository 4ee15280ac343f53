"""A rehearsal: a store is used once in every way, to see whether it can be used at all."""

import secrets
from contextlib import suppress

from dual_mode_streaming.errors import StoreFull
from dual_mode_streaming.stores._base import NewStream, Store


async def rehearse(store: Store) -> None:
    """Create, write, read and delete streams. Raises StoreError for what the store refuses."""
    stream, channel = secrets.token_hex(16), secrets.token_hex(16)
    async with store.subscribe(stream, _ignore):
        try:
            with suppress(StoreFull):
                await store.create(NewStream(stream=stream, operation=""), stream)
            await store.append(stream, 1, 1, [b"x" * 10] * 3)
            await store.read(stream, 0)
            await store.info(stream)
            await store.cancel(stream)
            await store.take_over(stream)
            await store.abandoned()
            with suppress(StoreFull):
                await store.create(NewStream(stream=channel, operation="", lifetime=60.0))
            marks: dict[str, tuple[str | None, str]] = {"mark": (None, "")}
            await store.publish(channel, [b"x"] * 3, marks=marks, lifetime=60.0, entries=2, size=9)
            await store.publish(channel, [b"x"], end="done")
        finally:
            await store.delete(stream)
            await store.delete(channel)


def _ignore() -> None:
    """Called for a change that nobody waits for."""
