"""What the clients for both kinds of code share: their settings, and the state of a stream."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import httpx

from dual_mode_streaming.client._options import READ_TIMEOUT, Defaults, own_client
from dual_mode_streaming.client._policy import DUAL_MODE, Dialect, Reconnect
from dual_mode_streaming.client._session import Session

T = TypeVar("T")
H = TypeVar("H", httpx.Client, httpx.AsyncClient)


class BaseClient(Generic[H]):
    """The settings of a client, and its httpx client."""

    _http_type: type[H]

    def __init__(
        self,
        base_url: str = "",
        *,
        http_client: H | None = None,
        headers: Mapping[str, str] | None = None,
        dialect: Dialect = DUAL_MODE,
        reconnect: Reconnect = Reconnect(),  # noqa: B008  (it is frozen)
        read_timeout: float | None = READ_TIMEOUT,
    ) -> None:
        if http_client is not None and (base_url or headers):
            raise ValueError(
                "base_url and headers cannot be given with http_client: set them on that client"
            )
        self._owned = http_client is None
        self._http: H = http_client or self._http_type(**own_client(base_url, headers))
        self._defaults = Defaults(dialect, reconnect, read_timeout)


class BaseEventStream(Generic[T]):
    """The events of one stream, over as many connections as it takes; it is iterated once.

    The iteration ends at an end event, at 204, or where the dialect says so; `outcome` says which.
    Leaving the loop in any way closes the connection, as does a `with` block around it.

    Raises:
        RequestRefused, UnexpectedContent, ConnectionFailed: if there is no stream.
        StreamFailed: if the server reports a failure (`event: error`).
        StreamTruncated: if the stream broke off and cannot be resumed.
        StreamReset: if the server starts again from the beginning.
        UnreadableAnswer: if data does not fit the model.
        EventTooLarge: if an event is larger than `max_event_bytes`.

    The exceptions are raised by the iteration. All but EventTooLarge carry what had arrived.
    """

    def __init__(self, session: Session[T]) -> None:
        self._session = session
        self._begun = False

    @property
    def outcome(self) -> str | None:
        """How the stream ended; None while it runs.

        "done", "cancelled", "interrupted" (or another end event of the dialect), "no-content"
        (204), "eof" (a clean end of the connection, where the dialect allows it), "closed" (by the
        caller), "error" or "failed" (an exception was raised).
        """
        return self._session.outcome

    @property
    def end_data(self) -> str | None:
        """The data of the end event, as text."""
        return self._session.end_data

    @property
    def last_event_id(self) -> str | None:
        """The ID with which to resume the stream after the event that was given last."""
        return self._session.last_event_id

    @property
    def location(self) -> str | None:
        """The URL of the recorded stream, once the server has sent it."""
        return None if self._session.location is None else str(self._session.location)

    @property
    def reconnects(self) -> int:
        """How often the client reconnected, or tried to, after a cut."""
        return self._session.reconnects

    @property
    def duplicates(self) -> int:
        """The number of events that came again and were dropped."""
        return self._session.duplicates

    def _begin(self) -> None:
        if self._begun:
            raise RuntimeError(
                "a stream is iterated once; open another one, with this one's last_event_id"
            )
        self._begun = True


def with_read_timeout(timeout: httpx.Timeout, seconds: float | None) -> httpx.Timeout:
    """Return the timeout with another one for reading, in seconds."""
    return httpx.Timeout(**(timeout.as_dict() | {"read": seconds}))
