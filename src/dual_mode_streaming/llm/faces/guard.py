"""Who may ask, and how much: keys, requests a minute, streams at a time."""

import hashlib
import hmac
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import Request

from dual_mode_streaming.llm.faces.dialect import Refusal
from dual_mode_streaming.web.recordings import key_digest

__all__ = ["Guard"]

_ANYBODY: Final = "anybody"


class Guard:
    """Admits requests by their key, in `Authorization: Bearer` or `x-api-key`.

    Args:
        keys: the keys there are; none means that nobody needs one, and all share the limits.
        streams: how many answers a key may have under way at a time; None is no limit.
        requests_a_minute: how many it may ask for in any minute; None is no limit.
        subject_of: whom a request's token was given to (`TokenSigner.subject_of`), or None.

    The limits hold in one process.
    """

    def __init__(
        self,
        keys: Iterable[str] = (),
        *,
        streams: int | None = None,
        requests_a_minute: int | None = None,
        subject_of: Callable[[Request], str | None] | None = None,
    ) -> None:
        self._digests = [_digest(key) for key in keys if key]
        self._streams = streams
        self._subject_of = subject_of
        self._rate = requests_a_minute and RateLimitItemPerMinute(requests_a_minute)
        self._window = MovingWindowRateLimiter(MemoryStorage())
        self._open: Counter[str] = Counter()

    @contextmanager
    def admit(self, request: Request) -> Iterator[None]:
        """Let a request in for as long as the block lasts. Raises Refusal: 401 or 429."""
        self.check(request)
        with self.hold(request):
            yield

    def check(self, request: Request) -> None:
        """Let a request in; `hold` counts what it begins. Raises Refusal: 401 or 429."""
        who = self._who(request)
        self._check_room(who)
        if self._rate and not self._window.hit(self._rate, who):
            again = self._window.get_window_stats(self._rate, who).reset_time - time.time()
            message = f"more than {self._rate.amount} requests in a minute"
            raise Refusal(429, message, retry_after=max(1, math.ceil(again)))

    @contextmanager
    def hold(self, request: Request) -> Iterator[None]:
        """An answer is under way for as long as the block lasts. Raises Refusal: 401 or 429."""
        who = self._who(request)
        self._check_room(who)
        self._open[who] += 1
        try:
            yield
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]

    def _check_room(self, who: str) -> None:
        if self._streams is not None and self._open[who] >= self._streams:
            message = f"{self._streams} answers are under way for this key, and no more are allowed"
            raise Refusal(429, message, retry_after=1)

    def owner(self, request: Request) -> str:
        """Whose a recorded stream is: the key's digest, or nobody's where none is needed; or whom a
        token was given to that the request shows. Raises what `subject_of` does."""
        subject = None if self._subject_of is None else self._subject_of(request)
        if subject is not None:
            return subject
        return key_digest(request) if self._digests else ""

    def _who(self, request: Request) -> str:
        """The key's digest, which may be told; in the same time whether there is such a key or not.

        Raises Refusal.
        """
        if not self._digests:
            return _ANYBODY
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else ""
        given = given or request.headers.get("x-api-key", "").strip()
        digest = _digest(given)
        known = [hmac.compare_digest(digest, one) for one in self._digests]
        if not any(known):
            refusal = Refusal(401, "a valid key is needed: Authorization: Bearer …, or x-api-key")
            refusal.headers = {"www-authenticate": "Bearer"}
            raise refusal
        return digest.hex()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
