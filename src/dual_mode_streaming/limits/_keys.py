"""API keys: the credentials of a request, and the keys that are valid."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final

from starlette.requests import HTTPConnection

_KEY: Final = re.compile(r"[!-~]{8,}")


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
        keys: the keys, each of at least 8 visible ASCII characters without spaces, as a header can
            carry them. No key means that none is needed, so a blank one is an error.

    Raises:
        ValueError: a key is blank, too short or has other characters. The message has no key.
        TypeError: `keys` is a text: each of its characters would be a key.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        if isinstance(keys, str | bytes):
            raise TypeError("keys must be a list of API keys, not one text")
        keys = list(keys)
        for number, key in enumerate(keys, 1):
            if not isinstance(key, str) or not _KEY.fullmatch(key):
                of = f"API key {number} of {len(keys)}"
                blank = "is blank" if isinstance(key, str) and not key.strip() else "is not valid"
                need = "at least 8 visible ASCII characters without spaces"
                raise ValueError(f"{of} {blank}: a key needs {need}")
        self._digests = [_digest(key) for key in keys]

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
