"""The options of a request, shared by both clients, and the protocols made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import httpx

from dual_mode_streaming.client._batch import BatchRequest
from dual_mode_streaming.client._events import reader
from dual_mode_streaming.client._policy import DUAL_MODE, Dialect, Reconnect
from dual_mode_streaming.client._requests import Call
from dual_mode_streaming.client._session import Session

READ_TIMEOUT: Final = 45.0
"""Seconds of silence; three heartbeats of a server of this package."""


class RequestOptions(TypedDict, total=False):
    """The options of a request.

    Attributes:
        params: the query, as a mapping or as pairs.
        json: the body, encoded as JSON by httpx.
        content: the body as bytes or text; not an iterator, since it may have to be sent again.
        headers: headers of this request, which replace those of the client. With an
            `Idempotency-Key` a POST is sent again if it is unknown whether it arrived.
        reconnect: how often to try again; the client's by default.
    """

    params: Mapping[str, Any] | Sequence[tuple[str, Any]]
    json: Any
    content: bytes | str
    headers: Mapping[str, str]
    reconnect: Reconnect


class StreamOptions(RequestOptions, total=False):
    """The options of a stream.

    Attributes:
        method: the method; "GET" by default.
        last_event_id: the position to resume at, an earlier stream's `last_event_id`.
        dialect: how the server ends a stream; the client's by default.
        read_timeout: seconds without a byte, heartbeats included, after which the connection counts
            as cut; must be longer than the server's heartbeat interval. 45 by default, None for no
            limit.
        on_reset: called with the server's message (a dict) when the server cannot resume and starts
            again from the beginning: events may be missing, or come again. Without it StreamReset
            is raised.
        keep: maximum number of characters of data of the newest events that an exception carries;
            1 MiB by default.
        max_event_bytes: maximum size of an event; EventTooLarge is raised above it. 16 MiB by
            default, None for no limit.
    """

    method: str
    last_event_id: str | None
    dialect: Dialect
    read_timeout: float | None
    on_reset: Callable[[dict[str, Any]], object] | None
    keep: int
    max_event_bytes: int | None


@dataclass(frozen=True, slots=True)
class Defaults:
    """The settings of a client, for requests that do not have their own."""

    dialect: Dialect = DUAL_MODE
    reconnect: Reconnect = Reconnect()  # noqa: RUF009  (it is frozen)
    read_timeout: float | None = READ_TIMEOUT

    def batch(self, method: str, url: str, model: Any, options: RequestOptions) -> BatchRequest:
        """Return the protocol of a batch request."""
        call, rest = _call(method, url, "application/json", options)
        policy = rest.pop("reconnect", self.reconnect)
        _refuse(rest)
        read, optional = reader(Any if model is None else model), model is None
        return BatchRequest(call, read, policy=policy, optional=optional)

    def session(
        self, url: str, model: Any, options: StreamOptions
    ) -> tuple[Session[Any], float | None]:
        """Return the protocol of a stream, and its read timeout."""
        method = options.get("method", "GET").upper()
        call, rest = _call(method, url, "text/event-stream", options)
        rest.pop("method", None)
        if "last-event-id" in call.headers:
            rest.setdefault("last_event_id", call.headers["last-event-id"])
        timeout = rest.pop("read_timeout", self.read_timeout)
        policy = rest.pop("reconnect", self.reconnect)
        names = ("dialect", "last_event_id", "on_reset", "keep", "max_event_bytes")
        settings = {name: rest.pop(name) for name in names if name in rest}
        _refuse(rest)
        settings.setdefault("dialect", self.dialect)
        return Session(call, reader(model), policy=policy, **settings), timeout


def _call(method: str, url: str, accept: str, options: Mapping[str, Any]) -> tuple[Call, Any]:
    """Return the request, and the options that are not part of it."""
    rest = dict(options)
    parts = {name: rest.pop(name) for name in ("params", "json", "content") if name in rest}
    content = parts.get("content")
    if content is not None and not isinstance(content, bytes | str):
        kind = type(content).__name__
        raise TypeError(
            f"content must be bytes or str, since it may have to be sent again, not {kind}"
        )
    headers = httpx.Headers(rest.pop("headers", None))
    headers.setdefault("accept", accept)
    if accept == "text/event-stream":
        headers.setdefault("cache-control", "no-cache")  # as an EventSource does (WHATWG, 9.2.2)
    return Call(method=method, url=url, headers=headers, **parts), rest


def _refuse(rest: Mapping[str, Any]) -> None:
    if rest:
        raise TypeError(f"unknown option: {', '.join(sorted(rest))}; see StreamOptions")


def own_client(base_url: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the arguments of an httpx client of our own.

    It follows redirects, as an EventSource does, waits for a batch as long as a server of this
    package may take, and does not limit connections, since each stream keeps one.
    """
    return {
        "base_url": base_url,
        "headers": headers,
        "follow_redirects": True,
        "timeout": httpx.Timeout(10, read=330),
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=20),
    }


def cancelling(call: Call) -> BatchRequest:
    """Return the protocol that cancels a stream; cancelling is idempotent and may be repeated."""
    return BatchRequest(call, reader(Any), policy=Reconnect(attempts=1, delay=0.1))
