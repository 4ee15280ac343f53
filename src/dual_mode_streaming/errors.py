"""Every exception this package raises of its own accord.

The first question about an error is whose it is:

    DualModeError
    ├── PeerError            the other side sent something we cannot serve or read
    │   ├── NotAcceptable        an Accept header that names nothing we have (406)
    │   └── EventTooLarge        an event above the decoder's cap
    ├── ServingError         our side could not give a whole answer
    │   ├── BatchLimitExceeded   the batch answer would be too large or too slow
    │   ├── StoreError           a store could not keep or give entries (StoreFull: no room)
    │   └── BrokenTransfer       a response was cut on purpose, so that nobody takes it for whole
    └── StreamError          a stage of a pipeline could not go on
        ├── StreamOverflow       a bound was reached, and its policy was to fail
        └── SourceCancelled      a source was cancelled from within, or its producer was

Misuse by the caller of this package is a plain ValueError or TypeError where it happens.
"""

from collections.abc import Sequence

__all__ = [
    "BatchLimitExceeded",
    "BrokenTransfer",
    "DualModeError",
    "EventTooLarge",
    "NotAcceptable",
    "PeerError",
    "ServingError",
    "SourceCancelled",
    "StreamError",
    "StreamOverflow",
]


class DualModeError(Exception):
    """The root of this package's exceptions."""


class PeerError(DualModeError):
    """The other side sent something that cannot be served or read."""


class NotAcceptable(PeerError):
    """No representation satisfies the Accept header (RFC 9110, section 15.5.7).

    `available` lists the media types that there are, in the server's order of preference.
    """

    status_code = 406

    def __init__(self, available: Sequence[str]) -> None:
        self.available = tuple(available)
        super().__init__(f"none of the accepted media types is available: {', '.join(available)}")


class EventTooLarge(PeerError):
    """An event grew past the decoder's cap before its blank line came.

    `limit` is the cap in bytes. The decoder that raised it is of no further use.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"an event is larger than the cap of {limit} bytes")


class ServingError(DualModeError):
    """Our side could not give a whole answer."""


class BatchLimitExceeded(ServingError):
    """A batch answer passed one of its bounds: items, bytes or seconds.

    `bound` names which of the three, `limit` is its value.
    """

    def __init__(self, bound: str, limit: float) -> None:
        self.bound = bound
        self.limit = limit
        super().__init__(
            f"the batch answer exceeds {limit:g} {bound}; ask for it as a stream "
            "(Accept: text/event-stream or application/jsonl)"
        )


class BrokenTransfer(ServingError):
    """A response was cut before its end, so that no client takes the part for the whole.

    Raised out of the ASGI application, because that is the one way to make every server close the
    connection without a final chunk. `__cause__` is what went wrong.
    """


class StreamError(DualModeError):
    """A stage of a pipeline could not go on."""


class StreamOverflow(StreamError):
    """A bound was reached, and the policy was to fail rather than to wait or to drop."""


class SourceCancelled(StreamError):
    """A source let a CancelledError out that nobody had sent it: its items are not whole.

    That happens when it awaits something that was cancelled elsewhere. As a CancelledError it would
    cancel the reader, who has done nothing, or pass for an end that was asked for.
    """

    def __init__(self, message: str = "a source was cancelled before its end") -> None:
        super().__init__(message)
