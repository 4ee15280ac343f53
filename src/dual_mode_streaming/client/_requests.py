"""A request, and what the head of its response says; no I/O, shared by both clients."""

import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final

import httpx

from dual_mode_streaming.client._events import json_object
from dual_mode_streaming.errors import RequestRefused

EXCERPT: Final = 64 * 1024
"""Maximum number of bytes of an error body that are read for the exception."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_BODY_HEADERS: Final = ("content-type", "content-length", "content-encoding", "idempotency-key")
_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, with the arguments of `httpx.Client.build_request`."""

    method: str
    url: str | httpx.URL
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    params: Any = None
    json: Any = None
    content: bytes | str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `build_request`."""
        names = ("method", "url", "headers", "params", "json", "content")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def is_safe(self) -> bool:
        """Whether the method only reads (RFC 9110, section 9.2.1)."""
        return self.method.upper() in _SAFE

    @property
    def is_repeatable(self) -> bool:
        """Whether sending it twice does no harm, even if the server acted on the first one."""
        return self.is_safe or "idempotency-key" in self.headers

    def with_headers(self, **headers: str | None) -> "Call":
        """Return a copy with these headers, `_` in a name for `-`; None removes a header."""
        merged = httpx.Headers(self.headers)
        for name, value in headers.items():
            name = name.replace("_", "-")
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = value  # sent as UTF-8, as WHATWG requires for Last-Event-ID
        return replace(self, headers=merged)

    def to(self, method: str, url: httpx.URL) -> "Call":
        """Return a request to another URL with the same headers, without those of the body."""
        headers = httpx.Headers(self.headers)
        for name in _BODY_HEADERS:
            headers.pop(name, None)
        return Call(method=method, url=url, headers=headers)


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The status and the headers of a response.

    Attributes:
        requested: the URL of the first request.
        url: the URL that answered, after redirects.
        redirects_to: the scheme, host and path of a redirect that was not followed, if it is one.
    """

    status: int
    headers: httpx.Headers
    requested: httpx.URL
    url: httpx.URL
    redirects_to: str = ""

    @classmethod
    def of(cls, response: httpx.Response) -> "ResponseHead":
        """Return the head of an httpx response."""
        first = response.history[0] if response.history else response
        following = response.next_request
        target = "" if following is None else str(without_secrets(following.url))
        return cls(response.status_code, response.headers, first.request.url, response.url, target)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def media_type(headers: Mapping[str, str]) -> str:
    """Return the media type without its parameters, in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of Retry-After, given as a number or a date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,15}", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, OverflowError):
        return None


def resource_of(head: ResponseHead) -> httpx.URL | None:
    """Return the URL of the recorded stream that Location names.

    It must have the origin of the request, because the caller's headers, with the credentials, are
    sent there.
    """
    location = head.headers.get("location")
    if not location:
        return None
    try:
        target = head.url.join(location)
    except (httpx.InvalidURL, ValueError):
        return None
    return target if origin(target) == origin(head.requested) else None


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return the scheme, the host and the port of a URL."""
    default = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, url.port or default


def refusal(head: ResponseHead, body: bytes) -> RequestRefused:
    """Return the exception for an error status; `body` is the beginning of the response body."""
    problem = json_object(body)
    text = body.decode("utf-8", "replace").strip()
    detail = problem.get("detail") or problem.get("title")
    if isinstance(detail, list):  # of a validation error of FastAPI
        detail = "; ".join(filter(None, map(_invalid, detail)))[:300]
    detail = detail if detail and isinstance(detail, str) else text[:200]
    if head.redirects_to:
        target = head.redirects_to
        detail = f"it redirects to {target}, which was not followed: use that URL if you trust it"
    return RequestRefused(head.status, detail, problem, retry_after(head.headers))


def _invalid(error: Any) -> str:
    """Return one of the validation errors of FastAPI as text; empty if it is none."""
    match error:
        case {"loc": [_, *fields], "msg": str(reason)}:
            return " ".join([*filter(None, [".".join(map(str, fields))]), reason])
    return ""


def is_cut(error: httpx.HTTPError) -> bool:
    """Whether the error is one of the connection, so that another connection may work."""
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
        return False
    return isinstance(error, (httpx.TransportError, httpx.DecodingError))


def was_sent(error: httpx.HTTPError) -> bool:
    """Whether the server may have seen the request."""
    return not isinstance(error, _NEVER_SENT)


def is_foreign(error: Exception | None) -> bool:
    """Whether the answer was not HTTP."""
    illegal = "illegal status line"  # h11's words
    return isinstance(error, httpx.RemoteProtocolError) and illegal in str(error)


def reason_of(error: Exception | None) -> str:
    """Return why a connection ended, in one line."""
    return "the stream broke off" if error is None else str(error) or type(error).__name__


def no_answer(call: Call, error: Exception | None) -> str:
    """Return the message for a request that got no answer; it says where and what to check."""
    try:
        url = httpx.URL(error.request.url) if isinstance(error, httpx.HTTPError) else call.url
    except RuntimeError:  # the error has no request
        url = call.url
    url = without_secrets(httpx.URL(url))
    if is_foreign(error):
        return f"what answered at {url} does not speak HTTP; if it speaks TLS, use https://"
    if error is None or (isinstance(error, httpx.HTTPError) and was_sent(error)):
        return f"no answer came from {url}"
    hint = ""
    if any(code in str(error) for code in _NO_TLS):
        hint = "; the server does not speak TLS at this port: use http://"
    return f"no connection to {url.scheme}://{url.netloc.decode()}: check host and port{hint}"


def without_secrets(url: httpx.URL) -> httpx.URL:
    """Return the URL for a message, without the parts that may hold a credential."""
    return url.copy_with(username=None, password=None, query=None, fragment=None)


def clear_frames(error: BaseException | None) -> None:
    """Break the reference cycle that an error of httpx is in (seen on CPython 3.13).

    httpx maps errors in a context manager: the frame of its `__exit__` holds the mapped error,
    whose traceback leads back to that frame, and to its callers, so to ours and to the user's.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__
