"""The logging of the service: text or JSON, with the id of the request, without secrets."""

import logging
import logging.config
import re
from typing import Any, Final

from asgi_correlation_id import CorrelationIdFilter
from pythonjsonlogger.core import RESERVED_ATTRS

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""The format of the `X-Request-ID` that a client may set; any other is replaced by a new one."""

_SECRET: Final = re.compile(r"(?i)((?:access_token|token|api_key|key)=)[^&\s\"]*")


class _Redacted(logging.Filter):
    """Removes secrets from the query strings in uvicorn's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                _SECRET.sub(r"\1…", arg) if isinstance(arg, str) else arg for arg in record.args
            )
        return True


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
        "filters": {
            "id": {"()": CorrelationIdFilter, "uuid_length": None},
            "redacted": {"()": _Redacted},
        },
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
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": log_format,
                "filters": ["id", "redacted"],
            }
        },
        "loggers": {
            name: {"handlers": ["out"], "level": level.upper(), "propagate": False}
            for name in ("uvicorn", "dual_mode_streaming", "asgi_correlation_id")
        },
    }
