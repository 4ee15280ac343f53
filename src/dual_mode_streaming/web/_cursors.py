"""The cursor of a request: where a client puts the id of the last event that it has seen."""

import inspect
import re
from collections.abc import Iterable
from typing import Final

from fastapi.params import Depends, Header, Query
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.types import Scope

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.web._signatures import bare, notes_of, resolved

END_ID: Final = re.compile(r"[0-9a-f]{10}\.end")
"""The id of the last event of an unrecorded stream, whatever its run."""

MAX_CURSOR_BYTES: Final = 1024
"""The longest cursor, in bytes. Those of the package have at most 64; those of an app are seldom
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
    for header, value in scope.get("headers", ()):
        if value and header == b"last-event-id":
            return read_header(scope)
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


class _Utf8(bytes):
    """The value of a header that is UTF-8 (WHATWG, 9.2.4), whatever its reader takes it for.

    Starlette reads all headers as Latin-1, for dependencies and models of headers, too.
    """

    __slots__ = ()

    def decode(self, *_: object) -> str:
        """Return the text: of UTF-8, or else of Latin-1."""
        try:
            return str(self, "utf-8")
        except UnicodeDecodeError:
            return str(self, "latin-1")


def read_header(scope: Scope) -> str:
    """Return the text of the Last-Event-ID header, empty if there is none.

    If it is not ASCII, all who read the headers of this scope later get the same text.
    """
    headers = scope.get("headers", ())
    for number, (name, value) in enumerate(headers):
        if value and name == b"last-event-id":
            if not value.isascii():
                value = _Utf8(value)
                if not isinstance(headers, list):
                    scope["headers"] = headers = list(headers)
                headers[number] = (name, value)
            return str(value.decode("latin-1"))
    return ""


async def cursor_read(request: Request) -> None:
    """Read the cursor before the dependencies of an endpoint do, as one of them.

    An endpoint that takes the header gets a cursor of the query there, too.
    """
    assert request.headers is not None  # it makes a list of those of the scope, and keeps it
    scope = request.scope
    if not read_header(scope) and (shown := cursor_of(scope)):
        scope["headers"].append((b"last-event-id", _Utf8(shown.encode("utf-8", "replace"))))


def takes_cursor(parameters: Iterable[inspect.Parameter]) -> bool:
    """Return whether FastAPI fills a parameter, or one of a dependency, from the cursor."""
    return any(map(_is_cursor, parameters))


def _is_cursor(parameter: inspect.Parameter) -> bool:
    for note in notes_of(parameter):
        if isinstance(note, Header | Query):
            fields = getattr(bare(parameter.annotation), "model_fields", None)
            if fields is None:
                names = [note.alias or parameter.name]
            else:  # a model of headers, or of the query
                names = [field.alias or name for name, field in fields.items()]
            if isinstance(note, Query):
                return any(name in CURSOR_PARAMETERS for name in names)
            return any(name.replace("_", "-").lower() == _HEADER for name in names)
        if isinstance(note, Depends):
            dependency = note.dependency or bare(parameter.annotation)
            try:
                return takes_cursor(resolved(dependency)[0].parameters.values())
            except (TypeError, ValueError, NameError):  # FastAPI says what is wrong with it
                return False
    return parameter.name in CURSOR_PARAMETERS
