"""The errors of models' APIs, in every shape that was seen: from a body or a chunk."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from dual_mode_streaming.llm._events import ErrorType
from dual_mode_streaming.llm._fields import clean, get, parts
from dual_mode_streaming.llm._provider import ProviderError, error_type_of

_KINDS: Final[tuple[tuple[str, ErrorType], ...]] = (
    ("ratelimit|throttl|quota|exhausted|toomany|^requests$|^tokens$", "rate_limit"),
    ("overload|unavailable|capacity|busy|notready|insufficientsystem", "overloaded"),
    ("timeout|timedout|deadline", "timeout"),
    ("apikey|authenticat|unauthori[sz]ed|credential", "authentication"),
    ("permission|forbidden|accessdenied", "permission"),
    ("notfound|notexist|nosuch", "not_found"),
    ("toolarge", "too_large"),
    (
        "invalid|badrequest|contextlength|contextwindow|toolong|abovemax|validation|unsupported"
        "|unprocessable|contentpolicy|contentfilter|moderation|responsibleai",
        "invalid_request",
    ),
)
"""What the names of errors have in them, without case and signs: the names of each API differ."""

_NAMES: Final = (
    "code",
    "type",
    "error",
    "status",
    "error_type",
    "status_code",
    "error_code",
    "__type",
)
_WORDS: Final = (
    *("message", "Message", "detail", "error_message", "errorMessage", "error_msg", "status_msg"),
    *("msg", "faultstring", "error", "errors", "innererror", "title", "reason", "description"),
    *("fault", "base_resp"),
)
_INNER: Final = ("error", "errors", "fault", "base_resp")
_ERRONEOUS: Final = frozenset((*_INNER, "type"))
_EVENT: Final = re.compile(r"message|content_block|response\.|ping")
_PAUSE: Final = re.compile(
    r"(?:try again|retry)(?: in| after)? (?:(\d+)m)?(\d+(?:\.\d+)?) ?(ms|s)", re.IGNORECASE
)
_KEY: Final = re.compile(r"\b(?:sk|pk|gsk|xai|rk|AIza|Bearer)[-_ ]?[\w*.-]{6,}")
_LONGEST: Final = 2_000
"""Characters of an upstream's message that are passed on."""


def error_of(chunk: Any) -> ProviderError | None:
    """Return the error that a chunk of a stream, or a body with a success, reports, if it does.

    The shapes: `{"error": {...}}`, `{"error": "text"}`, a list of one, `{"type": "error", ...}`,
    `{"detail": ...}`, `{"message": ..., "code": ...}`, `{"errors": [...]}`, the name of an
    exception as the only key, and text.
    """
    if type(chunk) is dict and chunk.get("choices") and _ERRONEOUS.isdisjoint(chunk):
        return None  # the usual case of a chunk
    if isinstance(chunk, list) and chunk:
        chunk = chunk[0]
    if isinstance(chunk, str | bytes):
        return error_from(chunk) if chunk.strip() else no_answer()
    kind = get(chunk, "type")
    if kind == "error" or any(get(chunk, name) for name in _INNER[:3]):
        return error_from(chunk)
    if any(get(chunk, name) is not None for name in ("choices", "content", "output", "usage")):
        failed = get(get(chunk, "base_resp"), "status_code")
        return error_from(chunk) if failed and not get(chunk, "choices") else None
    if isinstance(kind, str) and _EVENT.match(kind):
        return None
    return error_from(chunk) if _exception_of(chunk) or _words(chunk) else None


def no_answer() -> ProviderError:
    """Return the failure of a provider that answered a success with something else."""
    return ProviderError("the provider's answer has no message of a model", "server", status=502)


def error_from(
    error: Any, status: int | None = None, retry_after: float | None = None
) -> ProviderError:
    """Return the failure that an error object, text or body stands for.

    Args:
        error: what the API sent; its words reach the caller.
        status: the HTTP status, if it came with one that is an error.
        retry_after: the pause in seconds that the API asks for.
    """
    named: ErrorType | None = None
    told = status
    for body in _levels(error):
        for value in (*(get(body, name) for name in _NAMES), _exception_of(body)):
            told = told or _status_of(value)
            if isinstance(value, str) and len(value.split()) < 5:  # a name, not a sentence
                named = named or _kind_of(value)
    message = _words(error)
    kind: ErrorType = named or "server" if told is None else error_type_of(told)
    if kind == "authentication":  # the message may quote the key
        message = f"the provider refused the API key of this service ({told or 401})"
    elif retry_after is None:
        retry_after = _pause_of(error, message if kind in ("rate_limit", "overloaded") else "")
    message = message or "the provider reported an error without a message"
    return ProviderError(
        _KEY.sub("…", message),
        kind,
        status=told,
        retry_after=retry_after,
        code=_text_of(error, "code"),
        param=_text_of(error, "param"),
    )


def _text_of(error: Any, name: str) -> str | None:
    """Return a field of an error that is a short text."""
    given = (get(level, name) for level in _levels(error))
    return next((value for value in given if isinstance(value, str) and 0 < len(value) < 200), None)


def _levels(error: Any) -> list[Any]:
    """Return the objects of an error, from the inner one to the body."""
    levels = [error]
    while len(levels) < 5:
        body = levels[0]
        if isinstance(body, list | tuple) and body:
            inner = body[0]
        elif name := _exception_of(body):
            inner = get(body, name)
        else:
            inner = next((found for name in _INNER if (found := get(body, name))), None)
        if inner is None or isinstance(inner, str | bytes | bool | int | float):
            break
        levels.insert(0, inner)
    if (inner := get(levels[0], "innererror")) is not None:
        levels.insert(1, inner)
    return [level for level in levels if not isinstance(level, list | tuple)]


def _exception_of(body: Any) -> str | None:
    """Return the only key of an object, if it is the name of an exception: Bedrock's."""
    if isinstance(body, Mapping) and len(body) == 1:
        (name,) = body
        if isinstance(name, str) and name.lower().endswith(("exception", "error")):
            return name if name != "error" else None
    return None


def _status_of(value: Any) -> int | None:
    """Return a status of HTTP: a number, or text that begins with one."""
    if isinstance(value, str) and (found := re.match(r"\s*(?:HTTP\s*)?([45]\d\d)\b", value)):
        value = int(found[1])
    is_status = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_status and 400 <= value < 600 else None


def _kind_of(name: str) -> ErrorType | None:
    plain = re.sub("[^a-z]", "", name[:200].lower())
    return next((kind for pattern, kind in _KINDS if re.search(pattern, plain)), None)


def _pause_of(error: Any, message: str) -> float | None:
    """Return the pause that the body or the words of an error ask for."""
    for body in _levels(error):
        for part in (body, *parts(get(body, "details")), get(body, "metadata")):
            for name in ("retry_after", "retryAfter", "retryDelay", "retry_after_seconds"):
                value = get(part, name)
                if isinstance(value, str) and re.fullmatch(r"\d{1,6}(\.\d+)?s?", value):
                    value = float(value.rstrip("s"))
                if isinstance(value, int | float) and 0 < value < 1e6:
                    return float(value)
    if (found := _PAUSE.search(message)) is None:
        return None
    seconds = float(found[2]) / (1000 if found[3].lower() == "ms" else 1)
    return 60 * int(found[1] or 0) + seconds


def _words(error: Any, depth: int = 0) -> str:
    """Return the words of an error: a message, a detail, text, or a line of a page of HTML."""
    if depth > 8:
        return ""
    if isinstance(error, bytes):
        error = error.decode("utf-8", "replace")
    if isinstance(error, str):
        return _words_of_text(error.strip(), depth)
    if isinstance(error, list | tuple):
        return next((words for part in error if (words := _words(part, depth + 1))), "")
    if (name := _exception_of(error)) is not None:
        return _words(get(error, name), depth + 1) or name
    for name in _WORDS:
        value = get(error, name)
        if value and not callable(value) and (words := _words(value, depth + 1)):
            raw = _words(get(get(error, "metadata"), "raw"), depth + 1)  # of OpenRouter
            return f"{words}: {raw}"[:_LONGEST] if raw and raw not in words else words
    return ""


def _words_of_text(text: str, depth: int) -> str:
    if text[:1] in ("{", "[") and len(text) < 100_000:
        try:
            return _words(json.loads(text), depth + 1) or clean(text[:_LONGEST])
        except (ValueError, RecursionError):
            pass
    if re.match(r"<(!|\?|[a-z])", text, re.IGNORECASE):
        page = re.sub(r"(?is)<(script|style)\b.*?</\1\s*>", " ", text[:50_000])
        found = re.search(r"(?is)<(title|message|h1)\b[^>]*>(.*?)</\1\s*>", page)
        line = " ".join(re.sub(r"<[^>]*>", " ", found[2] if found else page).split())
        return clean(f"the provider answered with a page of HTML ({line[:200] or 'empty'})")
    return clean(text[:_LONGEST])
