"""What can be said of one request, in one place for both clients, and what is made of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import httpx

from dual_mode_streaming.client._batch import Batch
from dual_mode_streaming.client._calls import Call
from dual_mode_streaming.client._events import reader
from dual_mode_streaming.client._policy import DUAL_MODE, Dialect, Reconnect
from dual_mode_streaming.client._session import Session

__all__ = [
    "READ_TIMEOUT",
    "Defaults",
    "RequestOptions",
    "StreamOptions",
    "cancelling",
    "own_client",
]

READ_TIMEOUT: Final = 45.0
"""Three heartbeats of a server of ours."""


class RequestOptions(TypedDict, total=False):
    """What a request may have besides its URL.

    params: the query, a mapping or pairs.
    json: the body, as httpx makes JSON of it.
    content: the body as it is; it must be str or bytes, since it may have to be sent again.
    headers: the request's own, over those of the client. With an `Idempotency-Key`, a POST is
        sent again if nobody knows whether it arrived.
    reconnect: how often to come again; that of the client by default.
    """

    params: Mapping[str, Any] | Sequence[tuple[str, Any]]
    json: Any
    content: bytes | str
    headers: Mapping[str, str]
    reconnect: Reconnect


class StreamOptions(RequestOptions, total=False):
    """What a stream may have besides its URL and model.

    method: "GET" by default.
    last_event_id: where to go on, from an earlier stream's `last_event_id`.
    dialect: how the server ends a stream; `DUAL_MODE` by default.
    read_timeout: seconds without a byte, heartbeats included, after which the connection counts as
        lost; it must be longer than the server's heartbeat interval. 45 by default, None for never.
    on_reset: called with what the server says (a dict) when it cannot go on where we were, and
        starts anew: what came before may be missing something, or come again. Without it that is a
        StreamReset.
    keep: so many characters of the newest events are kept for an exception to carry; 1 MiB.
    max_event_bytes: the largest event; beyond it EventTooLarge. 16 MiB, None for no bound.
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
    """What holds for every request of one client."""

    dialect: Dialect = DUAL_MODE
    reconnect: Reconnect = Reconnect()  # noqa: RUF009  (it is frozen)
    read_timeout: float | None = READ_TIMEOUT

    def batch(self, method: str, url: str, model: Any, options: RequestOptions) -> Batch:
        """The state of a request for a whole answer."""
        call, rest = _call(method, url, "application/json", options)
        policy = rest.pop("reconnect", self.reconnect)
        _refuse(rest)
        return Batch(call, reader(Any if model is None else model), policy=policy)

    def session(
        self, url: str, model: Any, options: StreamOptions
    ) -> tuple[Session[Any], float | None]:
        """The state of a stream, and its read timeout."""
        method = options.get("method", "GET").upper()
        call, rest = _call(method, url, "text/event-stream", options)
        rest.pop("method", None)
        if "last-event-id" in call.headers:
            rest.setdefault("last_event_id", call.headers["last-event-id"])
        timeout = rest.pop("read_timeout", self.read_timeout)
        policy = rest.pop("reconnect", self.reconnect)
        names = ("dialect", "last_event_id", "on_reset", "keep", "max_event_bytes")
        known = {name: rest.pop(name) for name in names if name in rest}
        _refuse(rest)
        settings = {"dialect": self.dialect, "policy": policy} | known
        return Session(call, reader(model), **settings), timeout


def _call(method: str, url: str, accept: str, options: Mapping[str, Any]) -> tuple[Call, Any]:
    """The request, and the options that are not of it."""
    rest = dict(options)
    parts = {name: rest.pop(name) for name in ("params", "json", "content") if name in rest}
    content = parts.get("content")
    if content is not None and not isinstance(content, bytes | str):
        raise TypeError("content must be bytes or str, since it may have to be sent again")
    headers = httpx.Headers(rest.pop("headers", None))
    headers.setdefault("accept", accept)
    if accept == "text/event-stream":
        headers.setdefault("cache-control", "no-cache")  # as an EventSource does (WHATWG, 9.2.2)
    return Call(method=method, url=url, headers=headers, **parts), rest


def _refuse(rest: Mapping[str, Any]) -> None:
    if rest:
        raise TypeError(f"no such option: {', '.join(sorted(rest))}")


def own_client(base_url: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
    """The arguments of an httpx client of our own.

    It follows redirects, as an EventSource does, waits for a batch as long as a server of ours may
    take over it, and has no bound on connections, since each stream keeps one.
    """
    return {
        "base_url": base_url,
        "headers": headers,
        "follow_redirects": True,
        "timeout": httpx.Timeout(10, read=330),
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=20),
    }


def cancelling(call: Call) -> Batch:
    """The state of the request that cancels a stream; it is idempotent, and sent twice if cut."""
    return Batch(call, reader(Any), policy=Reconnect(attempts=1, delay=0.1))
