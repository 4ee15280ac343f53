"""The logging of the service: text or JSON, with the id of the request, without secrets."""

import copy
import logging
import logging.config
import re
from typing import Any, Final, TextIO
from urllib.parse import unquote

from asgi_correlation_id import CorrelationIdFilter
from pythonjsonlogger.core import RESERVED_ATTRS

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""The format of the `X-Request-ID` that a client may set; any other is replaced by a new one."""

_PAIR: Final = re.compile(r"([^\s?&;=\"'/]+)=(['\"]?[^\s&;\"']+)")
_NAME: Final = re.compile(r"(?i)(token|key|secret|password|authorization|signature)\W*")
_OTHERS: Final = (
    re.compile(
        r"(?i)((?:authorization|api-key|cookie)['\"]?\s*[:,=]\s*b?['\"]?(?:\w+\s)?)[^\s'\",]+"
    ),
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"),
    re.compile(r"(://)[^/\s@'\"]+(?=@)"),
)
"""What comes before a secret, and the secret: in a header, in an address."""

_ENCODED: Final = re.compile(r"[^\s\"]*%[0-9A-Fa-f]{2}[^\s\"]*")
_ROUNDS: Final = 4


def redacted(text: str) -> str:
    """Return a text without the secrets in it, however often they are percent-encoded."""
    return _ENCODED.sub(_decoded_if_secret, _redacted(text))


def _redacted(text: str) -> str:
    text = _PAIR.sub(_without_value, text)
    for secret in _OTHERS:
        text = secret.sub(r"\1…", text)
    return text


def _without_value(pair: re.Match[str]) -> str:
    name = pair[1]
    for _ in range(_ROUNDS):
        name = unquote(name)
    ends = [found.end() for found in _NAME.finditer(name)]
    value = "…" if len(name) in ends else _PAIR.sub(_without_value, pair[2])
    return f"{pair[1]}={value}"


def _decoded_if_secret(found: re.Match[str]) -> str:
    """Return a word as it is; decoded, if that shows a secret."""
    word = found[0]
    for _ in range(_ROUNDS):
        decoded = unquote(word)
        if decoded == word:
            return found[0]
        word = decoded
        if (hidden := _redacted(word)) != word:
            return "".join(each if each.isprintable() and each != " " else "?" for each in hidden)
    return found[0] if unquote(word) == word else "…"


class _RedactingHandler(logging.StreamHandler[TextIO]):
    """Writes without secrets: the targets of requests, and texts of exceptions."""

    def emit(self, record: logging.LogRecord) -> None:
        record = copy.copy(record)  # other handlers get it as it is
        try:
            record.msg, record.args = redacted(record.getMessage()), ()
        except Exception:  # wrong arguments
            self.handleError(record)
            return
        if record.exc_info:
            text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            record.exc_text, record.exc_info = redacted(text), None  # not to be formatted again
        super().emit(record)


class _Text(logging.Formatter):
    """One line of text, with the id of the request if there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        name = getattr(record, "correlation_id", None)
        return f"{line} [{name}]" if name else line


def log_config(level: str, log_format: str) -> dict[str, Any]:
    """Return the configuration of a process for `logging.config.dictConfig`.

    Args:
        level: the name of the lowest level.
        log_format: `text` or `json`.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"id": {"()": CorrelationIdFilter, "uuid_length": None}},
        "formatters": {
            "text": {"()": _Text, "fmt": "%(levelname)s: %(message)s"},
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "fmt": ["asctime", "levelname", "name", "message", "correlation_id"],
                "datefmt": "%Y-%m-%dT%H:%M:%S%z",
                "reserved_attrs": [*RESERVED_ATTRS, "color_message"],
                "rename_fields": {
                    "asctime": "time",
                    "levelname": "level",
                    "name": "logger",
                    "correlation_id": "request_id",
                },
            },
        },
        "handlers": {
            "out": {
                "()": _RedactingHandler,
                "stream": "ext://sys.stderr",
                "formatter": log_format,
                "filters": ["id"],
            }
        },
        "loggers": {
            name: {"handlers": ["out"], "level": level.upper(), "propagate": False}
            for name in ("uvicorn", "dual_mode_streaming", "asgi_correlation_id")
        },
    }
