"""Convert the exceptions of OpenAI's and Anthropic's SDKs, which have the same names."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import httpx2

from dual_mode_streaming.llm._events import ErrorType
from dual_mode_streaming.llm._provider import ProviderError, error_type_of

# An error in a stream, after the status 200, has only a name in its body.
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
    """Convert the exceptions of the SDK and its connection to ProviderError."""
    try:
        yield
    except (sdk.APITimeoutError, httpx2.TimeoutException) as error:
        raise ProviderError("no answer in time", "timeout") from error
    except (sdk.APIConnectionError, httpx2.TransportError) as error:
        raise ProviderError("the connection failed", "connection") from error
    except sdk.APIError as error:
        raise _from_api_error(error) from error


def _from_api_error(error: Any) -> ProviderError:
    body: dict[str, Any] = error.body if isinstance(error.body, dict) else {}
    inner = body.get("error")
    details: dict[str, Any] = inner if isinstance(inner, dict) else body
    message = details.get("message") or str(error)
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None)
    if status is None or status < 400:  # an error in the stream
        kind: ErrorType = _BY_NAME.get(
            str(details.get("type") or getattr(error, "type", "")), "server"
        )
        return ProviderError(message, kind)
    headers = {} if response is None else response.headers
    if status in (401, 403):  # the message may quote the key
        message = f"the provider refused the API key of this service ({status})"
    return ProviderError(
        message, error_type_of(status), status=status, retry_after=_retry_after(headers)
    )


def _retry_after(headers: Any) -> float | None:
    """Return the pause in seconds from `retry-after-ms` or `retry-after`; dates are ignored."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return max(0.0, float(headers.get(name, "")) / unit)
        except ValueError:
            continue
    return None
