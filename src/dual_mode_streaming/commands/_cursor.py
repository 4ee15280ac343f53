"""Where a read has come to, in a file, so that another process can go on from there."""

import contextlib
import hashlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dual_mode_streaming.commands._errors import Code, fail
from dual_mode_streaming.commands._request_options import Asked

__all__ = ["Cursor"]


@dataclass
class Cursor:
    """The place in one stream. It is written after what it stands for: a process that is killed in
    between has one event twice, and none is lost.

    request: a digest of what was asked, so that nobody goes on in another stream. Headers are not
        of it, nor anywhere in the file: they hold keys.
    claim: the Idempotency-Key of a request that does something, so that it is done once even if
        its reader is killed before the first event.
    location: the recorded stream, if the server told one; else the request is sent again.
    outcome: how the stream ended, if it did.
    """

    path: Path
    request: str
    claim: str | None = None
    last_event_id: str | None = None
    location: str | None = None
    outcome: str | None = None

    @classmethod
    def load(cls, path: Path, asked: Asked) -> Self:
        """What the file says, or the beginning if there is none. Exits if it is of something else.

        An empty file is a beginning as well, so that `mktemp` may have made it.
        """
        told = hashlib.sha256(
            b"\0".join((asked.method.encode(), asked.url.encode(), asked.content or b""))
        ).hexdigest()
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return cls._begun(path, told, asked)
        except (OSError, UnicodeDecodeError) as error:
            fail(f"--resume {path}: {error}", Code.USAGE)
        if not text.strip():
            return cls._begun(path, told, asked)
        names = ("request", "claim", "last_event_id", "location", "outcome")
        try:
            values = json.loads(text)
            known = {name: values[name] for name in names}
            if not all(value is None or isinstance(value, str) for value in known.values()):
                raise ValueError("not the place in a stream")
        except (ValueError, TypeError, KeyError):
            fail(f"--resume {path}: this file is not one of ours", Code.USAGE)
        if known["request"] != told:
            fail(f"--resume {path}: it is the place in the answer to another request", Code.USAGE)
        return cls(path, **known)

    @classmethod
    def _begun(cls, path: Path, told: str, asked: Asked) -> Self:
        cursor = cls(path, told)
        if not asked.reads_only:
            cursor.claim = uuid.uuid4().hex
            cursor.save()
        return cursor

    def save(self) -> None:
        """Replace the file as a whole: whoever reads it sees the old place or the new one."""
        values = {
            "request": self.request,
            "claim": self.claim,
            "last_event_id": self.last_event_id,
            "location": self.location,
            "outcome": self.outcome,
        }
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            beside.write_text(json.dumps(values) + "\n", "utf-8")
            beside.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            fail(f"--resume {self.path}: {error.strerror}")
