"""The position of a read, in a file, so that another process can continue there."""

import contextlib
import hashlib
import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from dual_mode_streaming.commands._errors import ExitCode, fail
from dual_mode_streaming.commands._request_options import HTTPRequest


@dataclass
class ResumeFile:
    """The position in one stream.

    It is saved after the event is printed: if the process is killed in between, one event is
    printed twice, and none is lost.

    Attributes:
        path: the file.
        request: a digest of the request, so that no other stream is continued. It excludes the
            headers, which are nowhere in the file, since they may hold keys.
        idempotency_key: the `Idempotency-Key` of a request that is not safe, so that it is done
            once even if the reader is killed before the first event.
        last_event_id: the ID of the event that was printed last.
        location: the URL of the recorded stream; None to send the request again.
        outcome: how the stream ended; None while it runs.
    """

    path: Path
    request: str
    idempotency_key: str | None = None
    last_event_id: str | None = None
    location: str | None = None
    outcome: str | None = None

    @classmethod
    def load(cls, path: Path, request: HTTPRequest) -> Self:
        """Read the file; exit with a message if it is not the position in this request's stream.

        A missing or an empty file (of `mktemp`, for example) is the beginning.
        """
        content = (request.method.encode(), request.url.encode(), request.content or b"")
        digest = hashlib.sha256(b"\0".join(content)).hexdigest()
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            text = ""
        except (OSError, UnicodeDecodeError) as error:
            fail(f"--resume {path} cannot be read: {error}", ExitCode.USAGE)
        if not text.strip():
            position = cls(path, digest)
            if not request.is_safe:
                position.idempotency_key = uuid.uuid4().hex
                position.save()
            return position
        try:
            position = cls(path, **json.loads(text))
            if not all(isinstance(value, str | None) for value in position._values().values()):
                raise ValueError
        except (ValueError, TypeError):
            fail(f"--resume {path} was not written by this command: use a new file", ExitCode.USAGE)
        if position.request != digest:
            fail(f"--resume {path} belongs to another request: use a new file", ExitCode.USAGE)
        return position

    def _values(self) -> dict[str, str | None]:
        values = asdict(self)
        del values["path"]
        return values

    def save(self) -> None:
        """Replace the whole file: a reader sees the old position or the new one."""
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            beside.write_text(json.dumps(self._values()) + "\n", "utf-8")
            beside.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            fail(f"--resume {self.path} cannot be written: {error.strerror}")
