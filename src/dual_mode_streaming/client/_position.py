"""The position in a recorded stream, by the IDs of its events."""

import re
from typing import Final

_ID: Final = re.compile(r"(.+)\.([0-9]{1,18})\.([0-9]{1,18})")  # stream, generation, sequence


class Position:
    """The newest event of a recorded stream; IDs of another form are ignored."""

    def __init__(self, id: str | None = None) -> None:
        self._newest = _parsed(id)

    def is_past(self, id: str | None) -> bool:
        """Whether the event is of the same stream, and not newer than the position."""
        parsed, newest = _parsed(id), self._newest
        if parsed is None or newest is None:
            return False
        return parsed[0] == newest[0] and parsed[1:] <= newest[1:]

    def advance(self, id: str | None) -> bool:
        """Move to a new event. Return False, and stay, if the event is not newer."""
        if self.is_past(id):
            return False
        self._newest = _parsed(id) or self._newest
        return True


def _parsed(id: str | None) -> tuple[str, int, int] | None:
    match = _ID.fullmatch(id) if id else None
    return None if match is None else (match[1], int(match[2]), int(match[3]))
