"""Access tokens in a URL, for clients that cannot send a header, such as an EventSource.

Proxies, logs and histories see a URL (RFC 6750, sections 2.3 and 5.3). So a token is valid for a
short time and for one path, and it contains a subject, not an API key.
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
from starlette.requests import HTTPConnection

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.web._fingerprint import ACCESS_TOKEN
from dual_mode_streaming.web._request_state import end_at
from dual_mode_streaming.web._routes import route_path

_MIN_SECRET: Final = 16
_MAX_TOKEN: Final = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Grant:
    """The content of a valid token.

    Attributes:
        subject: for whom the token was made.
        expires: the end of its validity, as Unix time in seconds.
    """

    subject: str
    expires: float


class TokenSigner:
    """Sign access tokens, and verify them.

    Args:
        secret: the secret, of at least 16 characters; all workers need the same. Of several, the
            last one signs and all verify, so that a secret can be rotated.
        seconds: the time for which a token is valid.

    Raises:
        ValueError: a secret is too short, or `seconds` is less than 1.
    """

    def __init__(self, secret: str | Sequence[str], *, seconds: int = 300) -> None:
        secrets = [secret] if isinstance(secret, str) else list(secret)
        if not secrets or any(len(each.strip()) < _MIN_SECRET for each in secrets):
            raise ValueError(f"a secret needs at least {_MIN_SECRET} characters")
        if seconds < 1:
            raise ValueError(f"seconds must be at least 1, not {seconds!r}")
        self.seconds = seconds
        self._serializer = URLSafeTimedSerializer(
            secrets, salt="dual-mode-stream", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def sign(self, subject: str, path: str) -> str:
        """Return a token with which `subject` may read `path`. It is signed, not encrypted."""
        return str(self._serializer.dumps([subject, path]))

    def read(self, token: str, path: str) -> Grant:
        """Verify a token for a path, and return its content.

        Raises:
            Problem: 401; the token is invalid, has expired, or is for another path.
        """
        try:
            if len(token) > _MAX_TOKEN:
                raise BadSignature("too long")
            (subject, signed_path), signed = self._serializer.loads(
                token, max_age=self.seconds, return_timestamp=True
            )
        except SignatureExpired:
            raise _refusal("the access token has expired") from None
        except (BadSignature, ValueError):
            raise _refusal("the access token is not valid") from None
        if signed_path != path:
            raise _refusal("the access token is for another path")
        expires = signed.timestamp() + self.seconds
        if expires <= time.time():  # itsdangerous counts whole seconds, and includes the last
            raise _refusal("the access token has expired")
        return Grant(subject, expires)

    def subject_of(self, request: HTTPConnection) -> str | None:
        """Return the subject of the request's `access_token`; None if there is no token.

        The answer to the request ends when the token expires.

        Raises:
            Problem: 401; the token is not valid, or the method is not GET or HEAD.
            RuntimeError: `install` was not called on the app.
        """
        token = request.query_params.get(ACCESS_TOKEN)
        if token is None:
            return None
        if request.scope.get("method") not in ("GET", "HEAD"):
            raise _refusal("an access token is only valid for GET and HEAD")
        path = route_path(request.scope)
        grant = self.read(token, path)
        end_at(request, grant.expires)
        return grant.subject


def _refusal(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
