"""What both clients' streams tell of themselves."""

import traceback
from typing import Generic, TypeVar

import httpx

from dual_mode_streaming.client._calls import is_cut, was_sent
from dual_mode_streaming.client._session import Session

__all__ = ["Reading"]

T = TypeVar("T")


class Reading(Generic[T]):
    """The events of one stream, over as many connections as it takes; to be iterated once.

    The iteration ends at an end event, at 204, or where the dialect says so; `outcome` tells which.
    Leaving the loop, in whatever way, closes the connection, as does a `with` block around it.

    Raises, from the iteration: RequestRefused, UnexpectedContent and ConnectionFailed if no stream
    comes, StreamFailed if the server tells that it failed, StreamTruncated if it broke off and
    cannot be resumed, StreamReset if the server starts anew, UnreadableAnswer for data that is not
    of the model, EventTooLarge. All but the last carry what had arrived.
    """

    def __init__(self, session: Session[T], timeout: httpx.Timeout, read: float | None) -> None:
        self._session = session
        self._timeout = httpx.Timeout(**(timeout.as_dict() | {"read": read}))
        self._begun = False

    @property
    def outcome(self) -> str | None:
        """How it ended; None while it has not.

        "done", "cancelled", "interrupted" (or the name of another end event of the dialect),
        "no-content" (204), "eof" (closed in good order, where the dialect takes that for an end),
        "closed" (by us), "error" or "failed" (an exception was raised).
        """
        return self._session.outcome

    @property
    def end_data(self) -> str | None:
        """The data of the end event, as it came."""
        return self._session.end_data

    @property
    def last_event_id(self) -> str | None:
        """Where the stream goes on after the event that was given last."""
        return self._session.last_event_id

    @property
    def location(self) -> str | None:
        """The URL of the recorded stream, once the server has told it."""
        return None if self._session.location is None else str(self._session.location)

    @property
    def reconnects(self) -> int:
        """How often it was connected, or tried to be, after it had been cut."""
        return self._session.reconnects

    @property
    def duplicates(self) -> int:
        """How many events came again and were dropped."""
        return self._session.duplicates

    def _begin(self) -> None:
        if self._begun:
            raise RuntimeError("a stream is iterated once; open another, with last_event_id")
        self._begun = True

    def _cut(self, error: Exception | None = None) -> None:
        """The connection is gone. Raises the error if another connection would not help."""
        if self._session.ended:  # we closed it ourselves, while it was being read
            return
        if error is None:
            self._session.on_cut()
            return
        _clear_frames(error)
        if isinstance(error, httpx.HTTPError) and is_cut(error):
            self._session.on_cut(error, sent=was_sent(error))
        else:
            self._session.on_mistake(error)


def _clear_frames(error: BaseException | None) -> None:
    """Break the reference cycle that an error of httpx is in (seen on CPython 3.13).

    httpx maps errors in a context manager: the frame of its `__exit__` holds what it maps, whose
    traceback leads back to that frame, and to its callers, so to ours and to the user's.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__
