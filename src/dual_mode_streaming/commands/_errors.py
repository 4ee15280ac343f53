"""What all commands share: exit codes, one line for a failure, a quiet end when nobody reads."""

import contextlib
import enum
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

__all__ = ["Code", "code_of", "fail", "manners", "needed", "note", "shown", "told", "write"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Code(enum.IntEnum):
    """The exit codes. 4 and 5 are the classes of HTTP statuses."""

    OK = 0
    FAILED = 1
    USAGE = 2
    TIMEOUT = 3
    REFUSED = 4
    SERVER = 5
    BROKEN = 6
    INTERRUPTED = 130


def fail(message: str, code: int = Code.FAILED) -> NoReturn:
    """Say why in one line on stderr, and exit."""
    note(f"dual-mode: {' '.join(message.split())}")
    raise SystemExit(int(code))


def note(line: str) -> None:
    """A line on stderr, where all goes that is not the answer."""
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(shown(line, sys.stderr) + "\n")
        sys.stderr.flush()


def write(text: str) -> None:
    """Text on stdout, at once."""
    sys.stdout.write(shown(text, sys.stdout))
    sys.stdout.flush()


def shown(text: str, file: Any) -> str:
    """The text, but what would steer a terminal is not sent to one."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text) if file.isatty() else text


@contextlib.contextmanager
def manners() -> Iterator[None]:
    """Turn what may go wrong in a command into one line and its exit code."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read our output has seen enough. Python would complain of it once more at its end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the way out is short
        raise SystemExit(int(Code.INTERRUPTED)) from None
    except Exception as error:
        code = code_of(error)
        if code is None:
            raise
        fail(told(error), code)


def told(error: BaseException) -> str:
    """What an error says, with its cause if it has one."""
    cause = error.__cause__
    reason = "" if cause is None else f": {str(cause) or type(cause).__name__}"
    return f"{str(error) or type(error).__name__}{reason}"


def code_of(error: BaseException) -> Code | None:
    """The exit code for a failure of the other side or of the way there; None for any other."""
    import httpx

    from dual_mode_streaming.errors import PeerError, RequestRefused, StreamFailed, StreamTruncated

    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return Code.USAGE
    if isinstance(error, httpx.TimeoutException) or (
        isinstance(error, PeerError) and isinstance(error.__cause__, httpx.TimeoutException)
    ):
        return Code.TIMEOUT
    if isinstance(error, RequestRefused):
        return {4: Code.REFUSED, 5: Code.SERVER}.get(error.status // 100, Code.FAILED)
    if isinstance(error, StreamFailed | StreamTruncated):
        return Code.BROKEN
    return Code.FAILED if isinstance(error, PeerError | httpx.HTTPError) else None


@contextlib.contextmanager
def needed(extra: str) -> Iterator[None]:
    """Around imports: what is missing is told with the extra that brings it."""
    try:
        yield
    except ImportError as error:
        fail(f"{error}; pip install 'dual-mode-streaming[{extra}]'")
