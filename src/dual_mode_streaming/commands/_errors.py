"""What all commands share: output, exit codes, and errors as one line on stderr."""

import contextlib
import enum
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from typing import NoReturn, TextIO

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class ExitCode(enum.IntEnum):
    """The exit codes. 4 and 5 are the classes of HTTP statuses."""

    OK = 0
    FAILED = 1
    USAGE = 2
    TIMEOUT = 3
    REFUSED = 4
    SERVER = 5
    BROKEN = 6
    INTERRUPTED = 130


def fail(message: str, code: int = ExitCode.FAILED) -> NoReturn:
    """Write the message as one line to stderr, and exit."""
    note(f"dual-mode: {' '.join(message.split())}")
    raise SystemExit(int(code))


def note(line: str) -> None:
    """Write a line to stderr; only the answer goes to stdout."""
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(printable(line, sys.stderr) + "\n")
        sys.stderr.flush()


def note_wait(seconds: float, reason: str) -> None:
    """Say on a terminal why nothing comes, and when the next attempt is."""
    if sys.stderr.isatty():
        then = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
        why = " ".join(reason.split())
        note(f"dual-mode: {why}; next attempt in {seconds:.1f} s, at {then}")


def write(text: str) -> None:
    """Write text to stdout and flush it."""
    sys.stdout.write(printable(text, sys.stdout))
    sys.stdout.flush()


def printable(text: str, file: TextIO) -> str:
    """Return the text; for a terminal without the control characters that would steer it."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text) if file.isatty() else text


def shown_url(url: str) -> str:
    """Return a URL for a message: without user, password, query and fragment, as secrets."""
    return re.split("[?#]", re.sub("^([^/?#]*//)?[^/?#]*@", r"\1", url))[0]


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn the errors that a command expects into one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has closed it. Python would complain about it once more at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not print a traceback
        raise SystemExit(int(ExitCode.INTERRUPTED)) from None
    except Exception as error:
        code = code_of(error)
        if code is None:
            raise
        fail(message_of(error), code)


def message_of(error: BaseException) -> str:
    """Return the message of an error, with that of its cause."""
    cause = error.__cause__
    reason = "" if cause is None else f": {str(cause) or type(cause).__name__}"
    return f"{str(error) or type(error).__name__}{reason}"


def code_of(error: BaseException) -> ExitCode | None:
    """Return the exit code for a failure of the server or the network; None for any other."""
    import httpx

    from dual_mode_streaming.errors import PeerError, RequestRefused, StreamFailed, StreamTruncated

    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return ExitCode.USAGE
    if isinstance(error, httpx.TimeoutException) or (
        isinstance(error, PeerError) and isinstance(error.__cause__, httpx.TimeoutException)
    ):
        return ExitCode.TIMEOUT
    if isinstance(error, RequestRefused):
        return code_of_status(error.status)
    if isinstance(error, StreamFailed | StreamTruncated):
        return ExitCode.BROKEN
    return ExitCode.FAILED if isinstance(error, PeerError | httpx.HTTPError) else None


def code_of_status(status: int) -> ExitCode:
    """Return the exit code for an HTTP status that is an error."""
    return {4: ExitCode.REFUSED, 5: ExitCode.SERVER}.get(status // 100, ExitCode.FAILED)


@contextlib.contextmanager
def needed(extra: str) -> Iterator[None]:
    """Exit with the name of the extra to install, if an import in the block fails."""
    try:
        yield
    except ImportError as error:
        missing = error.__cause__ or error
        fail(f"{missing}; install it with: pip install 'dual-mode-streaming[{extra}]'")
