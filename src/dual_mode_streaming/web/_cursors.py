"""The cursor of a request: where a client puts the id of the last event that it has seen."""

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, get_args

from fastapi.params import Depends, Header, Query
from starlette.datastructures import QueryParams
from starlette.types import Scope

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.web._signatures import resolved

END_ID: Final = re.compile(r"[0-9a-f]{10}\.end")
"""The id of the last event of an unrecorded stream, whatever its run."""

MAX_CURSOR_BYTES: Final = 1024
"""The longest cursor, in bytes. Those of the package have at most 60; those of an app are seldom
longer than a key of its database."""

CURSOR_PARAMETERS: Final = ("last_event_id", "lastEventId")
"""The query parameters for clients that cannot set a header; polyfills send the second."""

_HEADER: Final = "last-event-id"


def cursor_of(scope: Scope) -> str:
    """Return the cursor that the client sent, empty if there is none.

    The Last-Event-ID header wins over the query, and the first value that is not empty counts: an
    EventSource that reconnects keeps the query of its URL, and its header is newer.

    Raises:
        Problem: 400 if it is too long.
    """
    for name, value in scope.get("headers", ()):
        if value and name == b"last-event-id":
            return text_of(value)
    raw = scope.get("query_string", b"")
    if b"last" not in raw:
        return ""
    query = QueryParams(raw)
    for name in CURSOR_PARAMETERS:
        for shown in filter(None, query.getlist(name)):
            if len(shown.encode("utf-8", "replace")) > MAX_CURSOR_BYTES:
                raise Problem(400, f"the query parameter {name} has over {MAX_CURSOR_BYTES} bytes")
            return shown
    return ""


def text_of(header: bytes) -> str:
    """Return the text of a Last-Event-ID header: UTF-8 (WHATWG, 9.2.4), else Latin-1."""
    try:
        return header.decode("utf-8")
    except UnicodeDecodeError:
        return header.decode("latin-1")


def cursor_headers(signature: inspect.Signature) -> tuple[str, ...]:
    """Return the names of the parameters that FastAPI fills from the Last-Event-ID header.

    Starlette reads headers as Latin-1, so their values need `text_of`.
    """
    parameters = signature.parameters.values()
    return tuple(
        parameter.name
        for parameter in parameters
        if any(isinstance(note, Header) for note in _notes(parameter)) and _is_cursor(parameter)
    )


def takes_cursor(parameters: Iterable[inspect.Parameter]) -> bool:
    """Return whether FastAPI fills a parameter, or one of a dependency, from the cursor."""
    return any(map(_is_cursor, parameters))


def _notes(parameter: inspect.Parameter) -> Iterator[Any]:
    yield parameter.default
    yield from get_args(parameter.annotation)[1:]


def _is_cursor(parameter: inspect.Parameter) -> bool:
    for note in _notes(parameter):
        if isinstance(note, Header | Query):
            fields = getattr(_bare(parameter.annotation), "model_fields", None)
            if fields is None:
                names = [note.alias or parameter.name]
            else:  # a model of headers, or of the query
                names = [field.alias or name for name, field in fields.items()]
            if isinstance(note, Query):
                return any(name in CURSOR_PARAMETERS for name in names)
            return any(name.replace("_", "-").lower() == _HEADER for name in names)
        if isinstance(note, Depends):
            dependency = note.dependency or _bare(parameter.annotation)
            try:
                return takes_cursor(resolved(dependency)[0].parameters.values())
            except (TypeError, ValueError, NameError):  # FastAPI says what is wrong with it
                return False
    return parameter.name in CURSOR_PARAMETERS


def _bare(annotation: Any) -> Any:
    """Return the type of `Annotated[type, ...]`."""
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
