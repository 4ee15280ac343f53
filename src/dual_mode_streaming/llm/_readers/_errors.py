"""The errors of models' APIs, in every shape that was seen: from a body or a chunk."""

import re
from typing import Any, Final

from dual_mode_streaming.llm._events import ErrorType
from dual_mode_streaming.llm._fields import clean, get, parts
from dual_mode_streaming.llm._provider import ProviderError, error_type_of

_BY_NAME: Final[dict[str, ErrorType]] = {
    "invalid_request_error": "invalid_request",
    "invalid_argument": "invalid_request",
    "context_length_exceeded": "invalid_request",
    "authentication_error": "authentication",
    "unauthenticated": "authentication",
    "invalid_api_key": "authentication",
    "permission_error": "permission",
    "permission_denied": "permission",
    "not_found_error": "not_found",
    "model_not_found": "not_found",
    "not_found": "not_found",
    "request_too_large": "too_large",
    "rate_limit_error": "rate_limit",
    "rate_limit_exceeded": "rate_limit",
    "insufficient_quota": "rate_limit",
    "resource_exhausted": "rate_limit",
    "requests": "rate_limit",
    "tokens": "rate_limit",
    "api_error": "server",
    "server_error": "server",
    "internal_server_error": "server",
    "overloaded_error": "overloaded",
    "overloaded": "overloaded",
    "unavailable": "overloaded",
    "timeout_error": "timeout",
    "deadline_exceeded": "timeout",
}
_LONGEST: Final = 2_000
"""Characters of an upstream's message that are passed on."""


def error_of(chunk: Any) -> ProviderError | None:
    """Return the error that a chunk of a stream, or a body with a success, reports, if it does.

    The shapes: `{"error": {...}}`, `{"error": "text"}`, a list of one, `{"type": "error", ...}`,
    `{"detail": ...}`, `{"message": ..., "code": ...}` and text.
    """
    if isinstance(chunk, list) and chunk:
        chunk = chunk[0]
    if isinstance(chunk, str | bytes):
        return ProviderError(_words(chunk) or "the provider sent no answer", "server")
    error = get(chunk, "error")
    kind = get(chunk, "type")
    if not error and kind == "error":
        error = chunk
    is_unknown = not isinstance(kind, str) and not _is_answer(chunk)
    if not error and is_unknown and (get(chunk, "detail") or get(chunk, "message")):
        error = chunk
    return error_from(error) if error else None


def error_from(
    error: Any, status: int | None = None, retry_after: float | None = None
) -> ProviderError:
    """Return the failure that an error object, text or body stands for.

    Args:
        error: what the API sent; its words reach the caller.
        status: the HTTP status, if it came with one that is an error.
        retry_after: the pause in seconds that the API asks for.
    """
    body = error
    if isinstance(body, list) and body:
        body = body[0]
    if (inner := get(body, "error")) and not isinstance(body, str | bytes):
        body = inner
    named: ErrorType | None = None
    for field in ("code", "type", "status", "error_type"):
        value = get(body, field)
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            status = status or value
        elif isinstance(value, str) and named is None:
            named = _BY_NAME.get(value.lower())
    message = _words(body) or "the provider reported an error without a message"
    by_status = None if status is None else error_type_of(status)
    if by_status in ("authentication", "permission"):
        message = f"the provider refused the API key of this service ({status})"
    return ProviderError(
        message, by_status or named or "server", status=status, retry_after=retry_after
    )


def _is_answer(chunk: Any) -> bool:
    return any(get(chunk, name) is not None for name in ("choices", "content", "output", "usage"))


def _words(error: Any) -> str:
    """Return the words of an error: a message, a detail, text, or a line of a page of HTML."""
    if isinstance(error, bytes):
        error = error.decode("utf-8", "replace")
    if isinstance(error, str):
        if re.match(r"\s*<(!doctype|html|\?xml)", error, re.IGNORECASE):
            title = re.search(r"<title>(.*?)</title>", error, re.IGNORECASE | re.DOTALL)
            page = " ".join(title[1].split()) if title else "no title"
            return f"the provider answered with a page of HTML ({page[:200]})"
        return clean(error.strip()[:_LONGEST])
    for name in ("message", "detail", "error_message", "msg", "error", "title", "reason"):
        if (value := get(error, name)) and not callable(value):
            for part in parts(value):
                if words := _words(part):
                    return words
    return ""
