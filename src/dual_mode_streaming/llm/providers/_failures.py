"""Convert the exceptions of OpenAI's and Anthropic's SDKs, which have the same names."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from types import ModuleType
from typing import Any

import httpx2

from dual_mode_streaming.llm._provider import ProviderError
from dual_mode_streaming.llm._readers import error_from, no_answer

logger = logging.getLogger("dual_mode_streaming")


@contextmanager
def as_provider_errors(sdk: ModuleType) -> Iterator[None]:
    """Convert the exceptions of the SDK and its connection to ProviderError.

    Any other exception means that the SDK was surprised by an answer: it is logged.
    """
    try:
        yield
    except ProviderError:
        raise
    except (sdk.APITimeoutError, httpx2.TimeoutException) as error:
        raise ProviderError("no answer in time", "timeout") from error
    except (sdk.APIConnectionError, httpx2.RequestError) as error:
        raise ProviderError("the connection failed", "connection") from error
    except sdk.APIResponseValidationError as error:
        raise no_answer() from error
    except sdk.APIError as error:
        raise _from_api_error(error) from error
    except Exception as error:
        logger.warning("the provider's answer could not be read", exc_info=error)
        raise no_answer() from error


def _from_api_error(error: Any) -> ProviderError:
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None)
    headers = {} if response is None else response.headers
    if not isinstance(status, int) or status < 400:  # it came with a success
        status = None
    body = error.body or getattr(response, "text", "") or f"the provider answered {status}"
    failure = error_from(body, status, retry_after_of(headers))
    if response is not None and failure.error_type != "authentication":  # it may quote the key
        with suppress(ValueError, RecursionError, httpx2.HTTPError):
            whole = response.json()
            failure.body = whole if isinstance(whole, dict) else None
    return failure


def retry_after_of(headers: Any) -> float | None:
    """Return the pause in seconds from `retry-after-ms` or `retry-after`, which may be a date."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        value = headers.get(name, "")
        try:
            seconds = float(value) / unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
