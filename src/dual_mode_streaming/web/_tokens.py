"""Tokens for who cannot send a header: an EventSource has nothing but its URL.

A token in a URL is seen by proxies, logs and histories (RFC 6750, 2.3 and 5.3). So it is
short-lived, good for one path, and says whom it was given to rather than holding that one's key.
"""

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from typing import Final

try:
    from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer
except ModuleNotFoundError as error:
    raise ImportError("this needs: pip install 'dual-mode-streaming[server]'") from error
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from dual_mode_streaming.web._fingerprint import ACCESS_TOKEN
from dual_mode_streaming.web._request_state import end_at

__all__ = ["Grant", "TokenSigner"]

_LEAST: Final = 16
_LONGEST: Final = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Grant:
    """What a token says: whose it is, and until when it is good (Unix time, seconds)."""

    subject: str
    expires: float


class TokenSigner:
    """Makes tokens and reads them.

    Args:
        secret: signs; at least 16 characters, and the same in every worker. Several are a rotation:
            the last signs, all are read.
        seconds: how long a token is good.

    Raises ValueError for a secret that could be guessed.
    """

    def __init__(self, secret: str | Sequence[str], *, seconds: int = 300) -> None:
        secrets = [secret] if isinstance(secret, str) else list(secret)
        if not secrets or any(len(each) < _LEAST for each in secrets):
            raise ValueError(f"a secret needs at least {_LEAST} characters")
        if seconds < 1:
            raise ValueError(f"seconds must be at least 1, not {seconds!r}")
        self.seconds = seconds
        self._serializer = URLSafeTimedSerializer(
            secrets, salt="dual-mode-stream", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def sign(self, subject: str, path: str) -> str:
        """A token by which `subject` may read `path`, and nothing else. It can be read by all."""
        return str(self._serializer.dumps([subject, path]))

    def read(self, token: str, path: str) -> Grant:
        """What a token says that was shown for a path.

        Raises HTTPException, 401: it is none of ours, for another path, or no longer good.
        """
        try:
            if len(token) > _LONGEST:
                raise BadSignature("too long")
            (subject, asked), signed = self._serializer.loads(
                token, max_age=self.seconds, return_timestamp=True
            )
        except SignatureExpired:
            raise _refusal("the access token has expired") from None
        except (BadSignature, ValueError):
            raise _refusal("the access token is not valid") from None
        if asked != path:
            raise _refusal("the access token is for another path")
        expires = signed.timestamp() + self.seconds
        if expires <= time.time():  # the library counts whole seconds, and the last one in
            raise _refusal("the access token has expired")
        return Grant(subject, expires)

    def subject_of(self, request: HTTPConnection) -> str | None:
        """Whom a request's `access_token` was given to; None if it shows none.

        The answer ends when the token does. Raises as `read`, and RuntimeError in an app without
        `install`.
        """
        token = request.query_params.get(ACCESS_TOKEN)
        if token is None:
            return None
        if request.scope.get("method") not in ("GET", "HEAD"):
            raise _refusal("an access token is for reading")
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        grant = self.read(token, path)
        end_at(request, grant.expires)
        return grant.subject


def _refusal(detail: str) -> HTTPException:
    return HTTPException(401, detail, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
