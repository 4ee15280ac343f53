"""What is recorded: an operation, and a request to record one stream of it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from dual_mode_streaming.recordings._entries import StreamRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is recorded. Every worker knows it under the same name.

    Attributes:
        name: the name.
        record_of: returns the record of an item; None for an item that is not recorded.
        problem_of: returns the JSON that readers get for an exception.
        resume: makes the source that continues a stream, from its request and the number of its
            records; None if a stream cannot be continued.
        unread: what happens to a producer when its last reader in this process has left: it
            continues (None), or is cancelled after this time in seconds.
        cleanup_timeout: the time in seconds that a generator has to clean up; see `Options`.
        max_duration: the time in seconds after which a stream ends with an error; None for never.
    """

    name: str
    record_of: Callable[[Any], StreamRecord | None]
    problem_of: Callable[[BaseException], dict[str, Any]]
    resume: Callable[[bytes, int], AsyncIterator[Any]] | None = None
    unread: float | None = None
    cleanup_timeout: float = 5.0
    max_duration: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRequest:
    """A request to record one stream.

    Attributes:
        operation: what is recorded.
        owner: who may see the stream.
        fingerprint: a digest of the request. Two requests with the same one are the same.
        request: the request, for a worker that continues the stream.
        idempotency_key: the key under which the stream is found again; None for no key.
    """

    operation: Operation
    owner: str
    fingerprint: str
    request: bytes = b""
    idempotency_key: str | None = None
