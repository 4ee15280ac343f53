"""What the OpenAPI document says of recorded endpoints besides what it says of all."""

from typing import Any, Final, get_args

from dual_mode_streaming.sse import State

__all__ = ["ENDS", "ERRORS", "LOCATION", "RESET", "STATE", "parameters"]

STATE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["stream", "state", "items"],
    "properties": {
        "stream": {"type": "string"},
        "state": {"enum": list(get_args(State))},
        "items": {"type": "integer", "minimum": 0},
    },
}
"""How it is with a stream."""

_ITEMS: Final = {"type": "integer", "minimum": 0}
_TEXT: Final = {"type": "string"}

ENDS: Final[dict[str, dict[str, Any]]] = {
    name: {"type": "object", "required": ["items"], "properties": {"items": _ITEMS, **more}}
    for name, more in {"cancelled": {}, "interrupted": {"reason": _TEXT}}.items()
}
"""The data of the ends that only recordings have, by event."""

RESET: Final = {
    "type": "object",
    "required": ["reason", "requested"],
    "properties": {
        "reason": {"enum": ["not_recorded", "trimmed", "rewritten"]},
        **dict.fromkeys(("requested", "earliest", "head"), _TEXT),
    },
}

ERRORS: Final = {
    409: "The stream was cancelled or interrupted, and is no whole document.",
    410: "The stream has lost some of its entries, was deleted, or has expired.",
    422: "The Idempotency-Key was used with another request.",
}

LOCATION: Final = {
    "Location": {
        "description": "Where the stream is read again, stopped and forgotten: /streams/{id}.",
        "schema": {"type": "string", "format": "uri-reference"},
    }
}

_HEADERS: Final = {
    "Prefer": "`respond-async`: answer 202 at once, and let the stream be read at its Location.",
    "Idempotency-Key": "A request with the same key is answered with the stream that is there.",
    "Last-Event-ID": "Go on after this event of the stream that it is of, and begin none.",
}


def parameters(method: str) -> list[dict[str, Any]]:
    """The headers that a recorded operation heeds."""
    return [
        {"name": name, "in": "header", "required": False, "description": text, "schema": _TEXT}
        for name, text in _HEADERS.items()
        if method == "GET" or name != "Last-Event-ID"
    ]
