"""What a process has to tell the index of a Redis: the states of streams, written together."""

import asyncio
from itertools import islice
from typing import Any, Final

from dual_mode_streaming.stores._redis_connection import ScriptClient

AT_ONCE: Final = 1000
"""The streams in one update of the index, and in one list of abandoned streams."""

_PAUSE: Final = 1.0  # seconds between two updates of the index while streams run


class IndexNotes:
    """Notes for the index.

    Args:
        client: runs the scripts.
        retention: how long an ended stream is kept, in milliseconds.
    """

    def __init__(self, client: ScriptClient, retention: int) -> None:
        self._client = client
        self._retention = retention
        self._notes: dict[str, tuple[str, str, str]] = {}  # state, lease, bytes
        self._written_at = 0.0
        self._writing = asyncio.Lock()

    @property
    def is_due(self) -> bool:
        """Whether the last update was long enough ago."""
        return asyncio.get_running_loop().time() - self._written_at > _PAUSE

    def note(self, stream: str, state: str, lease: bytes, size: bytes) -> None:
        """Note what a script has replied about a stream."""
        self._notes[stream] = (state, lease.decode(), size.decode())

    def note_status(self, stream: str, status: Any) -> None:
        """Note the reply of the script STATUS."""
        state, lease, size = (b"", b"0", b"0") if status is None else status[1:4]
        self.note(stream, state.decode(), lease, size)

    async def write(self) -> None:
        """Write the notes to the index; those that cannot be written now stay for later."""
        self._written_at = asyncio.get_running_loop().time()
        async with self._writing:
            while self._notes:
                some = {stream: self._notes[stream] for stream in islice(self._notes, AT_ONCE)}
                for stream in some:
                    del self._notes[stream]
                flat = (value for stream, note in some.items() for value in (stream, *note))
                try:
                    await self._client.run_index("NOTE", self._retention, *flat)
                except BaseException:
                    self._notes = some | self._notes
                    raise
