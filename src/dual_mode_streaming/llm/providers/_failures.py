"""What an SDK raises, as a ProviderError; both SDKs are of one make."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import httpx2

from dual_mode_streaming.llm._events import ErrorType
from dual_mode_streaming.llm._provider import ProviderError, error_type_of

__all__ = ["as_provider_errors"]

# In a stream that has begun with a 200, only the body says what went wrong.
_BY_NAME: dict[str, ErrorType] = {
    "invalid_request_error": "invalid_request",
    "authentication_error": "authentication",
    "permission_error": "permission",
    "not_found_error": "not_found",
    "request_too_large": "too_large",
    "rate_limit_error": "rate_limit",
    "requests": "rate_limit",
    "tokens": "rate_limit",
    "api_error": "server",
    "server_error": "server",
    "overloaded_error": "overloaded",
    "timeout_error": "timeout",
}


@contextmanager
def as_provider_errors(sdk: ModuleType) -> Iterator[None]:
    """Raise what the SDK, or the connection under it, raises as a ProviderError."""
    try:
        yield
    except (sdk.APITimeoutError, httpx2.TimeoutException) as error:
        raise ProviderError("no answer in time", "timeout") from error
    except (sdk.APIConnectionError, httpx2.TransportError) as error:
        raise ProviderError("the connection failed", "connection") from error
    except sdk.APIError as error:
        raise _of_answer(error) from error


def _of_answer(error: Any) -> ProviderError:
    body: dict[str, Any] = error.body if isinstance(error.body, dict) else {}
    inner = body.get("error")
    said: dict[str, Any] = inner if isinstance(inner, dict) else body
    message = said.get("message") or str(error)
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None)
    if status is None or status < 400:  # it came in the stream
        kind: ErrorType = _BY_NAME.get(
            str(said.get("type") or getattr(error, "type", "")), "server"
        )
        return ProviderError(message, kind)
    headers = {} if response is None else response.headers
    if status in (401, 403):  # the key is ours, and its message may show some of it
        message = f"the provider has refused this service's key ({status})"
    return ProviderError(
        message, error_type_of(status), status=status, retry_after=_retry_after(headers)
    )


def _retry_after(headers: Any) -> float | None:
    """The seconds of `retry-after-ms`, else of `retry-after`; a date there is not understood."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return max(0.0, float(headers.get(name, "")) / unit)
        except ValueError:
            continue
    return None
