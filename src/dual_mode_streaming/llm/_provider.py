"""What stands behind the client: a provider answers one request, once, and says why it cannot."""

from collections.abc import AsyncGenerator
from typing import Final, Protocol

from dual_mode_streaming.errors import DualModeError
from dual_mode_streaming.llm._events import ErrorType, StreamEvent
from dual_mode_streaming.llm._requests import ChatRequest

__all__ = ["CUT", "Provider", "ProviderError", "error_type_of"]

CUT: Final = 444
"""The status of a connection that is cut on purpose: nginx's, for one closed without an answer."""

_RETRYABLE: Final = frozenset({"rate_limit", "overloaded", "server", "timeout", "connection"})

_BY_STATUS: Final[dict[int, ErrorType]] = {
    400: "invalid_request",
    401: "authentication",
    403: "permission",
    404: "not_found",
    408: "timeout",
    409: "overloaded",
    413: "too_large",
    422: "invalid_request",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}


def error_type_of(status: int) -> ErrorType:
    """What an HTTP status of a provider means."""
    return _BY_STATUS.get(status, "server" if status >= 500 else "invalid_request")


class ProviderError(DualModeError):
    """A provider did not answer, or not to the end.

    Args:
        message: what it said; never a key or a header.
        error_type: what kind of failure it is.
        status: its HTTP status, if it came to one.
        retry_after: the seconds it asks to wait before the next attempt.
    """

    def __init__(
        self,
        message: str,
        error_type: ErrorType,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.error_type: ErrorType = error_type
        self.status = status
        self.retry_after = retry_after

    @property
    def is_retryable(self) -> bool:
        """The same request may succeed later, if nothing of the answer went out yet."""
        return self.error_type in _RETRYABLE


class Provider(Protocol):
    """Where answers come from. One attempt each: retries and timeouts are the client's."""

    name: str
    default_model: str

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """The answer, event by event. Closing it closes the connection.

        MESSAGE_COMPLETE comes last, when the connection is already let go: its reader need not come
        back. Raises ProviderError, at any place.
        """
        ...

    async def complete(self, request: ChatRequest) -> StreamEvent:
        """The same answer as one MESSAGE_COMPLETE with its message. Raises ProviderError."""
        ...

    async def count_tokens(self, request: ChatRequest) -> int:
        """How many tokens the request has, as `usage.input_tokens` will say. Raises ProviderError.

        It may ask over the network.
        """
        ...

    def estimate_tokens(self, request: ChatRequest) -> int:
        """About as many, told at once; 0 where only the service can tell."""
        ...

    async def models(self) -> list[str]:
        """The names of the models there are."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
