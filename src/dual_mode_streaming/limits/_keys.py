"""Who may ask, and how much: keys, requests a minute, streams at a time."""

import hashlib
import hmac
import uuid
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Final

from starlette.requests import HTTPConnection, Request

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.limits._admission import client_of
from dual_mode_streaming.limits._concurrency import LocalPlaces, Places
from dual_mode_streaming.limits._rates import LocalRates, Rates

__all__ = ["Guard"]

_ANYBODY: Final = "anybody"

_NOBODY: Final = "nobody"
"""The owner that no stream has: where keys are needed, who shows none there is finds nothing."""


class Guard:
    """Admits requests by their key, in `Authorization: Bearer` or `x-api-key`.

    Args:
        keys: the keys there are; none means that nobody needs one, and all share the limits.
        streams: how many answers a key may have under way at a time; None is no limit.
        requests_a_minute: how many it may ask for in any minute; None is no limit.
        subject_of: whom a request's token was given to (`TokenSigner.subject_of`), or None.
        places: counts the answers; this process alone by default. `RedisPlaces` counts for all.
        rates: counts the requests, in the place of `requests_a_minute`; `RedisRates` for all.
    """

    def __init__(
        self,
        keys: Iterable[str] = (),
        *,
        streams: int | None = None,
        requests_a_minute: int | None = None,
        subject_of: Callable[[Request], str | None] | None = None,
        places: Places | None = None,
        rates: Rates | None = None,
    ) -> None:
        self._digests = [_digest(key) for key in keys if key]
        self._streams = streams
        self._subject_of = subject_of
        if rates is None and requests_a_minute is not None:
            rates = LocalRates(requests_a_minute)
        self._rates = rates
        self._places = places or LocalPlaces()

    async def admit(self, request: Request) -> ExitStack:
        """Let a request in for as long as the context lasts. Raises Problem: 401 or 429."""
        held = await self.hold(request)
        try:
            await self._check_rate(self._who(request))
        except BaseException:
            held.close()
            raise
        return held

    async def check(self, request: Request) -> None:
        """Let a request in; `hold` counts what it begins. Raises Problem: 401 or 429."""
        (await self.admit(request)).close()

    async def hold(self, request: Request) -> ExitStack:
        """An answer is under way for as long as the context lasts. Raises Problem: 401 or 429."""
        who, held = self._who(request), ExitStack()
        if self._streams is None:
            return held
        ticket = uuid.uuid4().hex
        if await self._places.take(ticket, {f"key:{who}": self._streams}) is not None:
            message = f"{self._streams} answers are under way for this key, and no more are allowed"
            raise Problem(429, message, retry_after=1)
        held.callback(self._places.give_back, ticket)
        return held

    async def aclose(self) -> None:
        """Let go of what counts."""
        await self._places.aclose()
        if self._rates is not None:
            await self._rates.aclose()

    async def _check_rate(self, who: str) -> None:
        if self._rates is not None and (again := await self._rates.hit(who)) is not None:
            message = f"more than {self._rates.a_minute} requests in a minute"
            raise Problem(429, message, retry_after=again)

    def owner(self, request: Request) -> str:
        """Whose a recorded stream is: the key's digest, or nobody's where none is needed; or whom a
        token was given to that the request shows. Raises what `subject_of` does."""
        subject = None if self._subject_of is None else self._subject_of(request)
        if subject is not None:
            return subject
        if not self._digests:
            return ""
        digest = self._known(request)
        return _NOBODY if digest is None else digest.hex()[:32]

    def client(self, request: HTTPConnection) -> str:
        """Who asks, for a limit: the holder of a key there is, else the address."""
        digest = self._known(request)
        return client_of(request) if digest is None else f"key {digest.hex()}"

    def _who(self, request: Request) -> str:
        """The key's digest, which may be told; in the same time whether there is such a key or not.

        Raises Problem.
        """
        if not self._digests:
            return _ANYBODY
        digest = self._known(request)
        if digest is None:
            detail = "a valid key is needed: Authorization: Bearer …, or x-api-key"
            raise Problem(401, detail, headers={"www-authenticate": "Bearer"})
        return digest.hex()

    def _known(self, request: HTTPConnection) -> bytes | None:
        """The digest of the key that is shown, if there is such a key."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else ""
        digest = _digest(given or request.headers.get("x-api-key", "").strip())
        known = [hmac.compare_digest(digest, one) for one in self._digests]
        return digest if any(known) else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
