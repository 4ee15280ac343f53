"""The protocol of a provider, the source of answers, and its failures."""

from collections.abc import AsyncGenerator
from typing import Any, Final, Protocol

from dual_mode_streaming.errors import DualModeError
from dual_mode_streaming.llm._events import ErrorType, StreamEvent
from dual_mode_streaming.llm._requests import ChatRequest

CUT: Final = 444
"""The status of a connection that a script cuts on purpose. nginx logs 444 for a connection closed
without a response."""

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
    """Return the kind of failure that an HTTP status of a provider stands for."""
    return _BY_STATUS.get(status, "server" if status >= 500 else "invalid_request")


class ProviderError(DualModeError):
    """A provider refused a request, failed, or broke its answer off.

    Args:
        message: the provider's message; it must not contain a key or a header.
        error_type: the kind of failure.
        status: the HTTP status, if there was one.
        retry_after: the pause in seconds that the provider asks for before the next attempt.
        code: the provider's own name of the error.
        param: the field that is wrong.
        body: the error as it came, for a caller who speaks the provider's API.
        is_retryable: whether the same request may succeed later; by default as the kind says.
    """

    def __init__(
        self,
        message: str,
        error_type: ErrorType,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        code: str | None = None,
        param: str | None = None,
        body: Any = None,
        is_retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.error_type: ErrorType = error_type
        self.status = status
        self.retry_after = retry_after
        self.code = code
        self.param = param
        self.body = body
        self.is_retryable = error_type in _RETRYABLE if is_retryable is None else is_retryable


class Provider(Protocol):
    """A source of answers. A call is one attempt: the client adds retries and timeouts.

    Attributes:
        name: the name, for logs and metrics.
        default_model: the model of a request that names none.
    """

    name: str
    default_model: str

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events of an answer; closing the generator closes the connection.

        Close the connection before the last event, MESSAGE_COMPLETE: the reader may stop there.

        Raises:
            ProviderError: at any point; no ERROR event is yielded.
        """
        ...

    async def complete(self, request: ChatRequest) -> StreamEvent:
        """Return the same answer as one MESSAGE_COMPLETE with its message. Raises ProviderError."""
        ...

    async def count_tokens(self, request: ChatRequest) -> int:
        """Return the number of tokens of a request, the later `usage.input_tokens`.

        It may make a request of its own. Raises ProviderError.
        """
        ...

    def estimate_tokens(self, request: ChatRequest) -> int:
        """Return an estimate of `count_tokens` without any I/O; 0 if there is none."""
        ...

    async def models(self) -> list[str]:
        """Return the names of the available models. Raises ProviderError."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
