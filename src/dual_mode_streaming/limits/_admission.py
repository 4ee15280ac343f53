"""How many answers may be open at a time, in all and to one client."""

import hashlib
import uuid
from collections.abc import Callable
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Scope

from dual_mode_streaming.errors import PeerError
from dual_mode_streaming.limits._concurrency import LocalPlaces, Places

__all__ = ["Admission", "TooMany", "client_of"]

_ALL: Final = "all"


def client_of(request: HTTPConnection) -> str:
    """Who asks: the address. Keys that nobody has checked anyone can make up, one for each request.

    Behind a proxy the address is that of the proxy, unless the server is told to trust what that
    says of it (uvicorn: `--forwarded-allow-ips`).
    """
    return request.client.host if request.client else "unknown"


class TooMany(PeerError):
    """There is no place: `status` is 429 if the client itself has too many, else 503."""

    def __init__(self, status: int, detail: str, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(detail)


class Admission:
    """Lets so many answers be open at a time; `install(app, admission=…)`.

    Args:
        streams: in all; None for any number. Beyond: 503 with Retry-After.
        client_streams: to one client; None for any number. Beyond: 429 with Retry-After.
        client: tells who asks; an app that has checked who that is may count by that.
        places: who counts; this process alone by default, so that each worker has its own limits.
            `RedisPlaces` counts for all.

    Batch answers count too, for as long as they are made.
    """

    def __init__(
        self,
        *,
        streams: int | None = None,
        client_streams: int | None = None,
        client: Callable[[HTTPConnection], str] = client_of,
        places: Places | None = None,
    ) -> None:
        for name, value in (("streams", streams), ("client_streams", client_streams)):
            if value is not None and (isinstance(value, bool) or value < 1):
                raise ValueError(f"{name} must be at least 1, or None, not {value!r}")
        self._streams = streams
        self._client_streams = client_streams
        self._client = client
        self._places = places or LocalPlaces()

    async def enter(self, scope: Scope) -> str | None:
        """Take a place for a request. Out: the ticket to give back. Raises TooMany."""
        limits: dict[str, int] = {}
        if self._client_streams is not None:
            client = self._client(HTTPConnection(scope)).encode("utf-8", "surrogateescape")
            limits[f"client:{hashlib.sha256(client).hexdigest()[:32]}"] = self._client_streams
        if self._streams is not None:
            limits[_ALL] = self._streams
        if not limits:
            return None
        ticket = uuid.uuid4().hex
        full = await self._places.take(ticket, limits)
        if full is None:
            return ticket
        if full == _ALL:
            raise TooMany(503, f"all {self._streams} streams are taken; come again", "streams")
        raise TooMany(
            429,
            f"{self._client_streams} answers to you are open, which is all you may have; end one",
            "client_streams",
        )

    def leave(self, ticket: str) -> None:
        """Give the place back."""
        self._places.give_back(ticket)

    async def aclose(self) -> None:
        """Let go of what counts."""
        await self._places.aclose()
