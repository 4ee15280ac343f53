"""The parts of the OpenAPI document that only recorded endpoints have."""

from typing import Any, Final, get_args

from dual_mode_streaming.sse import State

STATE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["stream", "state", "items"],
    "properties": {
        "stream": {"type": "string"},
        "state": {"enum": list(get_args(State))},
        "items": {"type": "integer", "minimum": 0},
    },
}
"""The state of a stream, as `/streams/{id}` and a 202 return it."""

_ITEMS: Final = {"type": "integer", "minimum": 0}
_TEXT: Final = {"type": "string"}

ENDS: Final[dict[str, dict[str, Any]]] = {
    name: {"type": "object", "required": ["items"], "properties": {"items": _ITEMS, **more}}
    for name, more in {"cancelled": {}, "interrupted": {"reason": _TEXT}}.items()
}
"""The data of the end events that only recorded streams have, by event name."""

RESET: Final = {
    "type": "object",
    "required": ["reason", "requested"],
    "properties": {
        "reason": {"enum": ["not_recorded", "trimmed", "rewritten"]},
        **dict.fromkeys(("requested", "earliest", "head"), _TEXT),
    },
}
"""The data of a `reset` event."""

ERRORS: Final = {
    400: "The cursor belongs to the stream of another request.",
    409: "The stream was cancelled or interrupted, so there is no complete batch.",
    410: "Some records of the stream are no longer stored, or it was deleted or has expired.",
    422: "The Idempotency-Key was used with another request.",
}

LOCATION: Final = {
    "Location": {
        "description": "The path of the recorded stream: read, cancel or delete it there.",
        "schema": {"type": "string", "format": "uri-reference"},
    }
}

_HEADERS: Final = {
    "Prefer": "`respond-async`: answer 202 at once; the stream can be read at its Location.",
    "Idempotency-Key": "A repeated request with the same key is answered with the same stream.",
    "Last-Event-ID": "Continue the stream of this event after it; no new stream is started.",
}


def parameters() -> list[dict[str, Any]]:
    """Return the request headers of a recorded operation, as parameters of OpenAPI."""
    return [
        {"name": name, "in": "header", "required": False, "description": text, "schema": _TEXT}
        for name, text in _HEADERS.items()
    ]
