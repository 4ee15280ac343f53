"""API keys: the credentials of a request, and the keys that are valid."""

import hashlib
import hmac
from collections.abc import Iterable

from starlette.requests import HTTPConnection


def credentials(request: HTTPConnection) -> str:
    """Return the API key of a request, or an empty string.

    It is taken from `Authorization: Bearer` (RFC 6750, section 2.1), else from `x-api-key`.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return bearer or request.headers.get("x-api-key", "").strip()


def key_digest(request: HTTPConnection) -> str:
    """Return an id of the API key of a request that does not reveal it; empty without a key.

    It is the default owner of a recorded stream: what was recorded with a key can be read with that
    key only; what was recorded without one, by everyone who knows its id.
    """
    key = credentials(request)
    return _digest(key).hex()[:32] if key else ""


class APIKeys:
    """The valid API keys, of which only digests are kept. It is false if there are none.

    Args:
        keys: the keys; empty ones are ignored.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = [_digest(key) for key in keys if key]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def identify(self, request: HTTPConnection) -> str | None:
        """Return the digest of the key of a request, in hex; None if the key is not valid.

        It takes the same time for a valid and for an invalid key.
        """
        if not self._digests:
            return None
        digest = _digest(credentials(request))
        matches = [hmac.compare_digest(digest, valid) for valid in self._digests]
        return digest.hex() if any(matches) else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
