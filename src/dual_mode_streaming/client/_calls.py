"""A request as it is asked for, and what its answer's head says; no I/O, for both clients alike."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final

import httpx

from dual_mode_streaming.client._events import json_object
from dual_mode_streaming.errors import RequestRefused

__all__ = [
    "EXCERPT",
    "Call",
    "Head",
    "is_cut",
    "media_type",
    "refusal",
    "resource_of",
    "retry_after",
    "was_sent",
]

EXCERPT: Final = 64 * 1024
"""So many bytes are read of an answer that is none, for what it says."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OF_THE_BODY: Final = ("content-type", "content-length", "content-encoding", "idempotency-key")
_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: what `httpx.Client.build_request` makes it of."""

    method: str
    url: str | httpx.URL
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    params: Any = None
    json: Any = None
    content: bytes | str | None = None

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of `build_request`."""
        names = ("method", "url", "headers", "params", "json", "content")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def may_be_repeated(self) -> bool:
        """Whether a second sending does no harm, even if the first one was acted upon."""
        return self.method.upper() in _SAFE or "idempotency-key" in self.headers

    @property
    def is_safe(self) -> bool:
        """Whether the method only reads (RFC 9110, 9.2.1)."""
        return self.method.upper() in _SAFE

    def with_headers(self, **headers: str | None) -> "Call":
        """The same with these headers, `-` for `_`; None takes one away."""
        ours = httpx.Headers(self.headers)
        for name, value in headers.items():
            name = name.replace("_", "-")
            if value is None:
                ours.pop(name, None)
            else:
                ours[name] = value  # as UTF-8, which the standard wants of a Last-Event-ID
        return replace(self, headers=ours)

    def to(self, method: str, url: httpx.URL) -> "Call":
        """Another request for the same caller: his headers, but nothing that tells of a body."""
        ours = httpx.Headers(self.headers)
        for name in _OF_THE_BODY:
            ours.pop(name, None)
        return Call(method=method, url=url, headers=ours)


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an answer; `asked` is what we asked, `url` where redirects have led to."""

    status: int
    headers: httpx.Headers
    asked: httpx.URL
    url: httpx.URL

    @classmethod
    def of(cls, response: httpx.Response) -> "Head":
        """That of an httpx response."""
        first = response.history[0] if response.history else response
        return cls(response.status_code, response.headers, first.request.url, response.url)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def media_type(headers: Mapping[str, str]) -> str:
    """The media type without its parameters, in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that Retry-After asks for, as a number or a date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,15}", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, OverflowError):
        return None


def resource_of(head: Head) -> httpx.URL | None:
    """The recorded stream that the answer's Location names.

    Only one of the origin that was asked: the caller's headers go there, with his credentials.
    """
    location = head.headers.get("location")
    if not location:
        return None
    try:
        target = head.url.join(location)
    except (httpx.InvalidURL, ValueError):
        return None
    return target if _origin(target) == _origin(head.asked) else None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    default = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, url.port or default


def refusal(head: Head, body: bytes) -> RequestRefused:
    """The exception for a status that is no answer; `body` is the beginning of what came."""
    problem = json_object(body)
    text = body.decode("utf-8", "replace").strip()
    detail = problem.get("detail") or problem.get("title") or text[:200]
    told = detail if isinstance(detail, str) else text[:200]
    return RequestRefused(head.status, told, problem, retry_after(head.headers))


def is_cut(error: httpx.HTTPError) -> bool:
    """Whether the error is one of the connection, which another one may not have."""
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
        return False
    return isinstance(error, (httpx.TransportError, httpx.DecodingError))


def was_sent(error: httpx.HTTPError) -> bool:
    """Whether the server may have seen the request."""
    return not isinstance(error, _NEVER_SENT)
