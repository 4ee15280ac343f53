"""The clock of a Redis, by which leases end. It is a wall clock: it may be set."""

from time import monotonic
from typing import Final

_IMPOSSIBLE: Final = 3
"""How many times as long as a lease may be what is left of it; beyond, the clock was set back."""

_JITTER: Final = 0.05  # seconds that a reply may be late


class ServerClock:
    """Notices when the clock of the server is set, and what is left of leases then.

    After a step nothing is believed for the time of one lease: the writers that live renew theirs.

    Args:
        lease: the length of a lease, in seconds.
    """

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._offset: float | None = None
        self._trusted_from = 0.0
        self.was_set_back = False
        """Whether leases may seem to last for too long."""

    def see(self, now: int) -> None:
        """Note the time of the server, in milliseconds; it may be from a moment ago."""
        offset = now / 1000 - monotonic()
        if self._offset is not None and abs(offset - self._offset) > max(self._lease / 4, _JITTER):
            self._trusted_from = monotonic() + self._lease
            self.was_set_back |= offset < self._offset
        self._offset = offset

    def left(self, end: int, left: int) -> float:
        """Return the seconds that are left of a lease; 0 if the end is impossible.

        Args:
            end: the end of the lease by the server, in milliseconds.
            left: what is left of it by the server, in milliseconds.
        """
        self.see(end - left)
        if monotonic() < self._trusted_from:
            return self._lease
        return 0.0 if left > _IMPOSSIBLE * 1000 * self._lease else left / 1000
