"""Redirects, followed as httpx would, but with nothing of the caller's for another origin."""

from typing import Any, Final

import httpx

from dual_mode_streaming.client._requests import origin

_HARMLESS: Final = ("accept", "accept-encoding", "accept-language", "cache-control", "user-agent")
"""The headers that another origin gets, besides `Host`. Any other may be a credential, under a name
that only the caller knows, or a key or cursor of the first server."""


def send(http: httpx.Client, request: httpx.Request) -> httpx.Response:
    """Send a request and follow its redirects; the body of the response is not read yet."""
    history: list[httpx.Response] = []
    options: dict[str, Any] = {"stream": True, "follow_redirects": False}
    while True:
        response = http.send(request, **options)
        if (following := _following(http, response, history, options)) is None:
            return response
        response.close()
        request = following


async def asend(http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """As `send`, for an async client."""
    history: list[httpx.Response] = []
    options: dict[str, Any] = {"stream": True, "follow_redirects": False}
    while True:
        response = await http.send(request, **options)
        if (following := _following(http, response, history, options)) is None:
            return response
        await response.aclose()
        request = following


def _following(
    http: httpx.Client | httpx.AsyncClient,
    response: httpx.Response,
    history: list[httpx.Response],
    options: dict[str, Any],
) -> httpx.Request | None:
    """Return the request that a response redirects to; None if it is not to be followed.

    A request that changes something is not sent to another origin: its body is for the first one.
    """
    response.history = list(history)
    request = response.next_request
    if request is None or not http.follow_redirects:
        return None
    if origin(request.url) != origin(response.request.url) or "auth" in options:
        if request.method not in ("GET", "HEAD"):
            return None
        options["auth"] = None  # also not when it leads back
        kept = {name: request.headers[name] for name in _HARMLESS if name in request.headers}
        request = httpx.Request(
            request.method,
            request.url.copy_with(username=None, password=None),
            headers=kept,
            extensions=request.extensions,
        )
    if len(history) >= http.max_redirects:
        raise httpx.TooManyRedirects("too many redirects", request=request)
    history.append(response)
    return request
