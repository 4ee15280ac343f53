"""Convert the exceptions of OpenAI's and Anthropic's SDKs, which have the same names."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import httpx2

from dual_mode_streaming.llm._provider import ProviderError
from dual_mode_streaming.llm._readers import error_from


@contextmanager
def as_provider_errors(sdk: ModuleType) -> Iterator[None]:
    """Convert the exceptions of the SDK and its connection to ProviderError."""
    try:
        yield
    except (sdk.APITimeoutError, httpx2.TimeoutException) as error:
        raise ProviderError("no answer in time", "timeout") from error
    except (sdk.APIConnectionError, httpx2.TransportError) as error:
        raise ProviderError("the connection failed", "connection") from error
    except sdk.APIResponseValidationError as error:
        raise ProviderError("the provider's answer is no JSON", "server") from error
    except sdk.APIError as error:
        raise _from_api_error(error) from error


def _from_api_error(error: Any) -> ProviderError:
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None)
    headers = {} if response is None else response.headers
    is_refusal = isinstance(status, int) and status >= 400  # else it came in the stream
    return error_from(
        error.body or str(error), status if is_refusal else None, _retry_after(headers)
    )


def _retry_after(headers: Any) -> float | None:
    """Return the pause in seconds from `retry-after-ms` or `retry-after`; dates are ignored."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return max(0.0, float(headers.get(name, "")) / unit)
        except ValueError:
            continue
    return None
