"""Admission: how many answers may be open, and what an API key may request."""

import hashlib
import uuid
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Scope

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.limits._keys import APIKeys
from dual_mode_streaming.limits._memory import LimitBackend, MemoryLimits

_ALL: Final = "all"
_EVERYBODY: Final = "anybody"
"""The key that all requests share where no API keys are configured."""

_NO_OWNER: Final = "nobody"
"""The owner of no stream, for requests without a valid key where keys are required."""


class TooMany(Problem):
    """A limit is reached: 429 if it is one of the client or of its key, else 503.

    `reason` is the name of the limit, a label of the metrics.
    """

    def __init__(self, status: int, detail: str, reason: str, retry_after: float = 1) -> None:
        super().__init__(status, detail, retry_after=retry_after)
        self.reason = reason


class Admission:
    """Limits for the answers of an app; pass it to `install(app, admission=…)`.

    `streams` and `client_streams` are for all dual-mode endpoints: an answer counts while it is
    open, also a batch while it is made. `keys`, `key_streams` and `key_requests_a_minute` are for
    the endpoints that call `admit`, `check` or `hold`, such as those of `llm_routes`.

    `install` closes it at the end of the app's lifespan.

    Args:
        streams: the maximum number of open answers; None for no limit. Beyond it: 503.
        client_streams: the maximum number of open answers of one client; None for no limit. Beyond
            it: 429.
        client: returns the name of the client of a request. The default is `client_of`.
        keys: the valid API keys; if there are none, no key is required, and all requests share the
            limits of one key. Without a valid key: 401.
        key_streams: the maximum number of answers in progress of one key; None for no limit. Beyond
            it: 429.
        key_requests_a_minute: the maximum number of requests of one key in any minute; None for no
            limit. Beyond it: 429.
        backend: counts; the default is `MemoryLimits()`, so that each worker has limits of its own.
            `RedisLimits` counts for all workers.

    Raises:
        ValueError: a limit is not an integer of at least 1.
    """

    def __init__(
        self,
        *,
        streams: int | None = None,
        client_streams: int | None = None,
        client: Callable[[HTTPConnection], str] | None = None,
        keys: Iterable[str] = (),
        key_streams: int | None = None,
        key_requests_a_minute: int | None = None,
        backend: LimitBackend | None = None,
    ) -> None:
        for name, value in (
            ("streams", streams),
            ("client_streams", client_streams),
            ("key_streams", key_streams),
            ("key_requests_a_minute", key_requests_a_minute),
        ):
            if value is not None and (isinstance(value, bool) or value < 1):
                raise ValueError(f"{name} must be at least 1, or None, not {value!r}")
        self._streams = streams
        self._client_streams = client_streams
        self._client = client or self.client_of
        self._keys = APIKeys(keys)
        self._key_streams = key_streams
        self._key_requests_a_minute = key_requests_a_minute
        self._backend = backend or MemoryLimits()

    async def enter(self, scope: Scope) -> str | None:
        """Count an answer that is about to be opened.

        Returns:
            The ticket to pass to `leave`; None if there is no limit.

        Raises:
            TooMany: too many answers are open, in all (503) or of this client (429).
        """
        limits: dict[str, int] = {}
        if self._client_streams is not None:
            client = self._client(HTTPConnection(scope)).encode("utf-8", "surrogateescape")
            limits[f"client:{hashlib.sha256(client).hexdigest()[:32]}"] = self._client_streams
        if self._streams is not None:
            limits[_ALL] = self._streams
        if not limits:
            return None
        ticket = uuid.uuid4().hex
        full = await self._backend.acquire(ticket, limits)
        if full is None:
            return ticket
        if full == _ALL:
            detail = f"all {self._streams} streams are taken; try again later"
            raise TooMany(503, detail, "streams")
        detail = f"{self._client_streams} answers to you are open, the maximum; close one first"
        raise TooMany(429, detail, "client_streams")

    def leave(self, ticket: str) -> None:
        """Stop counting the answer of a ticket."""
        self._backend.release(ticket)

    async def admit(self, request: HTTPConnection) -> ExitStack:
        """Check the API key, count the request, and count an answer until the result is closed.

        Raises:
            Problem: 401, there is no valid key.
            TooMany: 429, a limit of the key is reached.
        """
        slot = await self.hold(request)
        try:
            await self._check_rate(self._key(request))
        except BaseException:
            slot.close()
            raise
        return slot

    async def check(self, request: HTTPConnection, *, answers: bool = True) -> None:
        """Check as `admit`, for a request whose answer is counted by `hold`, later.

        Args:
            request: the request.
            answers: False for a request without an answer that counts, such as one that cancels:
                only its key and the rate are checked.
        """
        if answers:
            (await self.admit(request)).close()
        else:
            await self._check_rate(self._key(request))

    async def hold(self, request: HTTPConnection) -> ExitStack:
        """Check the API key, and count an answer until the result is closed.

        Raises:
            Problem: 401, there is no valid key.
            TooMany: 429, too many answers are in progress for this key.
        """
        key, slot = self._key(request), ExitStack()
        if self._key_streams is None:
            return slot
        ticket = uuid.uuid4().hex
        if await self._backend.acquire(ticket, {f"key:{key}": self._key_streams}) is not None:
            detail = f"{self._key_streams} answers are under way for this key, the maximum"
            raise TooMany(429, detail, "key_streams")
        slot.callback(self._backend.release, ticket)
        return slot

    def owner(self, request: HTTPConnection) -> str:
        """Return the owner of the streams that a request records: an id of its API key.

        It is empty where no keys are required, and the owner of no stream without a valid key.
        """
        if not self._keys:
            return ""
        key = self._keys.identify(request)
        return _NO_OWNER if key is None else key[:32]

    def client_of(self, request: HTTPConnection) -> str:
        """Return the name of a client: its valid API key, else its address.

        An invalid key is not a name: a client could send another one with each request. Behind a
        proxy the address is the proxy's, unless the server trusts `X-Forwarded-For` (uvicorn:
        `--forwarded-allow-ips`).
        """
        if (key := self._keys.identify(request)) is not None:
            return f"key {key}"
        return request.client.host if request.client else "unknown"

    async def aclose(self) -> None:
        """Close the backend."""
        await self._backend.aclose()

    async def _check_rate(self, key: str) -> None:
        allowed = self._key_requests_a_minute
        if allowed is not None and (wait := await self._backend.hit(key, allowed)) is not None:
            detail = f"more than {allowed} requests in a minute"
            raise TooMany(429, detail, "key_requests_a_minute", retry_after=wait)

    def _key(self, request: HTTPConnection) -> str:
        """Return the digest of the API key. Raises Problem (401) without a required one."""
        if not self._keys:
            return _EVERYBODY
        key = self._keys.identify(request)
        if key is None:
            detail = "a valid key is needed: Authorization: Bearer …, or x-api-key"
            raise Problem(401, detail, headers={"www-authenticate": "Bearer"})
        return key
