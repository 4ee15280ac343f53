"""The routes of `/streams/{id}`: read a recorded stream, cancel it, delete it.

docs/protocol.md specifies the answers.
"""

import contextlib
import inspect
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Header, Path, Query
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import Scope

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.negotiation import Negotiated, ResponseMode
from dual_mode_streaming.recordings import Cursor, Recordings
from dual_mode_streaming.running.owner import logger
from dual_mode_streaming.stores._base import StreamInfo
from dual_mode_streaming.web._cursors import cursor_of
from dual_mode_streaming.web._headers import none_match
from dual_mode_streaming.web._problems import MEDIA_TYPE, render_problem, rendered_problem
from dual_mode_streaming.web._request_state import request_state
from dual_mode_streaming.web._routes import route_path, taken_by
from dual_mode_streaming.web._waiting import wait_while
from dual_mode_streaming.web.channels._reading import read as read_as_durable
from dual_mode_streaming.web.recorded._endpoint import attach
from dual_mode_streaming.web.recorded._openapi import STATE
from dual_mode_streaming.web.recorded._operation import RecordedOperation
from dual_mode_streaming.web.recorded._registry import RecordingRegistry
from dual_mode_streaming.web.recorded._replay import state_of

OURS: Final = "x-dual-mode"
"""Marks our operations in the document, until `arrange` has put them at its end."""

_CANCEL_WAIT: Final = 5.0
"""The time in seconds that a cancellation waits for the end of the stream."""

_REFUSALS: Final = {
    400: "The cursor is malformed, or belongs to another stream",
    404: "There is no such stream, or it has another owner",
    406: "None of the media types in Accept is available",
    409: "The stream was cancelled or interrupted, so there is no complete document",
    410: "The stream has expired, or the requested records are no longer stored",
    413: "The document would be too large; read it as a stream",
    500: "The stream ended with this error",
    503: "The store cannot be reached, or the server is shutting down",
    504: "The document would take too long to make; read it as a stream",
}
_PROBLEM: Final[dict[str, Any]] = {
    kind: {"schema": {"type": "object"}} for kind in (MEDIA_TYPE, "application/json")
}
_STATE_CONTENT: Final = {"application/json": {"schema": STATE}}

Id = Annotated[
    str,
    Path(
        description="The stream's id, from the Location of its first answer.",
        pattern="^[0-9a-f]{32}$",
    ),
]


def _refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"description": _REFUSALS[code], "content": _PROBLEM} for code in codes}


class _StreamRoute(APIRoute):
    """Answers with problems, as docs/protocol.md says, also if the app handles the status."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler that FastAPI calls."""
        handle = super().get_route_handler()

        async def with_problems(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                handler = request.app.exception_handlers.get(Problem)
                if inspect.unwrap(handler) is not rendered_problem:
                    raise  # the app has its own form of a Problem
                return render_problem(problem)

        return with_problems


class StreamsRouter(APIRouter):
    """The routes of an app's recorded streams. They exist only where something is recorded.

    Every request of the app passes through here. Another path is skipped, and so is one that a
    route of the user answers, whatever the order of the two.
    """

    def __init__(self, registry: RecordingRegistry, app: FastAPI) -> None:
        super().__init__(tags=["Recorded streams"], route_class=_StreamRoute)
        self._registry = registry
        self._app = app
        self._paths = re.compile(f"{re.escape(registry.prefix)}/[0-9a-f]{{32}}(/cancel)?/?")

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as Starlette's routes do."""
        if (
            scope["type"] != "http"
            or not self._paths.fullmatch(route_path(scope))
            or not self._registry.has_operations
            or taken_by(self._app.routes, scope, self.routes) is not None
        ):
            return Match.NONE, {}
        return super().matches(scope)

    def taken_by(self, method: str, path: str) -> str | None:
        """Return the path of the user's route that answers in place of ours; None if none does."""
        path = path.replace("{stream}", "0" * 32)
        scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
        return taken_by(self._app.routes, scope, self.routes)

    def check(self) -> None:
        """Log a warning for each of our operations that a route of the user answers."""
        for route in self.routes if self._registry.has_operations else ():
            assert isinstance(route, APIRoute)
            for method in sorted(route.methods or ()):
                if (user := self.taken_by(method, route.path)) is not None:
                    logger.warning(
                        "%s %s of recorded streams is answered by the app's own route %s: choose "
                        "another path for the recorded streams, install(app, prefix=…)",
                        *(method, route.path, user),
                    )

    def arrange(self, paths: dict[str, Any]) -> None:
        """Put our operations at the end of a document; remove those that do not exist."""
        for path, operations in [*paths.items()]:
            ours = [
                method
                for method, operation in operations.items()
                if isinstance(operation, dict) and operation.pop(OURS, False)
            ]
            for method in ours:
                if not self._registry.has_operations or self.taken_by(method.upper(), path):
                    del operations[method]
            if ours:
                del paths[path]
                if operations:
                    paths[path] = operations


def stream_routes(registry: RecordingRegistry, app: FastAPI) -> StreamsRouter:
    """Return the router of an app's recorded streams."""
    routes = StreamsRouter(registry, app)
    read_path, cancel_path = (f"{registry.prefix}/{{stream}}{end}" for end in ("", "/cancel"))

    async def found(
        request: Request, stream: str, *, or_expired: bool = False
    ) -> tuple[Recordings, StreamInfo]:
        """Return the client's stream. Raises Problem: 404 if there is none, 410 if expired."""
        pair = await registry.find(stream, registry.owner_of(request))
        if pair is None:
            raise Problem(404, "there is no stream with this id, or it has another owner")
        if pair[1].expired and not or_expired:
            raise Problem(410, "the stream has expired")
        return pair

    def operation_of(info: StreamInfo) -> RecordedOperation:
        operation = registry.operation(info.new.operation)
        if operation is None:
            raise Problem(
                404, f"this server has no endpoint {info.new.operation}, which recorded the stream"
            )
        return operation

    @routes.get(
        read_path,
        openapi_extra={OURS: True},
        summary="Read a recorded stream",
        response_class=Response,
        responses={
            200: {
                "description": "The stream after the cursor, or all of it as a document",
                "content": {mode.media_type: {} for mode in ResponseMode},
            },
            202: {"description": "The stream is still running", "content": _STATE_CONTENT},
            204: {"description": "The cursor is the end of the stream: nothing follows"},
            304: {"description": "The document is the one named in If-None-Match"},
            **_refusals(400, 404, 406, 409, 410, 413, 500, 503, 504),
        },
    )
    async def read_stream(
        request: Request,
        stream: Id,
        last: Annotated[str | None, Query(alias="last_event_id")] = None,
        last_of_polyfill: Annotated[
            str | None, Query(alias="lastEventId", include_in_schema=False)
        ] = None,
        last_header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
        start: Annotated[str | None, Query(alias="from", pattern="^(start|now)$")] = None,
        on_gap: Annotated[str | None, Query(pattern="^(reset|fail)$")] = None,
        wait: Annotated[float, Query(ge=0, le=60)] = 0,
    ) -> Response:
        recordings, info = await found(request, stream)
        if {"offset", "live"} & request.query_params.keys():
            return await read_as_durable(request, recordings, info)
        form = request_state(request.scope).negotiate(request.scope)
        if form.mode is ResponseMode.BATCH:
            return await document(request, recordings, info, form, wait)
        after = Cursor(stream, 1, 0)
        if start == "now":
            after = Cursor.at(info, info.head)
        if shown := cursor_of(request.scope):
            parsed = Cursor.parse(shown)
            if parsed is None or parsed.stream != stream:
                raise Problem(400, f"{shown[:80]!r} is not a cursor of this stream")
            after = parsed
        if on_gap == "fail" and (
            not info.has(after.generation, after.sequence) or after.sequence + 1 < info.earliest
        ):
            raise Problem(410, "the records after the cursor are no longer stored")
        return attach(request, recordings, info, operation_of(info), form, after)

    async def document(
        request: Request, recordings: Recordings, info: StreamInfo, form: Negotiated, wait: float
    ) -> Response:
        """Return the stream as a document if it has ended, otherwise its state."""
        info = await until_ended(request, recordings, info, wait)
        tag = f'"{info.new.stream}.{info.generation}.{info.head}"'
        if info.state == "running":
            headers = {"retry-after": "1", "cache-control": "no-cache"}
            return JSONResponse(state_of(info), 202, headers)
        if none_match(request, tag):
            return Response(status_code=304, headers={"etag": tag})
        after = Cursor(info.new.stream, 1, 0)
        response = attach(request, recordings, info, operation_of(info), form, after)
        response.headers["etag"] = tag
        return response

    @routes.post(
        cancel_path,
        openapi_extra={OURS: True},
        summary="Cancel a recorded stream",
        response_class=JSONResponse,
        responses={
            200: {"description": "The state in which it ended", "content": _STATE_CONTENT},
            202: {"description": "It has not ended yet, but will", "content": _STATE_CONTENT},
            **_refusals(404, 410, 503),
        },
    )
    async def cancel_stream(request: Request, stream: Id) -> Response:
        recordings, info = await found(request, stream)
        if info.state == "running":
            await recordings.cancel(stream)
        info = await until_ended(request, recordings, info, _CANCEL_WAIT)
        return JSONResponse(state_of(info), 202 if info.state == "running" else 200)

    @routes.delete(
        read_path,
        openapi_extra={OURS: True},
        summary="Cancel and delete a recorded stream",
        status_code=204,
        response_class=Response,
        responses=_refusals(404, 503),
    )
    async def delete_stream(request: Request, stream: Id) -> Response:
        recordings, _ = await found(request, stream, or_expired=True)
        await recordings.delete(stream)
        return Response(status_code=204)

    return routes


async def until_ended(
    request: Request, recordings: Recordings, info: StreamInfo, seconds: float
) -> StreamInfo:
    """Wait until a stream ends, at most for `seconds`; return its state.

    The wait ends early when the server shuts down or the client disconnects. It counts as an open
    answer; if a limit leaves no slot for it, there is no wait.
    """
    if info.state != "running" or seconds <= 0:
        return info

    async def follow() -> None:
        after = Cursor.at(info, info.head)
        async with contextlib.aclosing(recordings.read(info, after)) as records:
            async for _ in records:
                pass

    await wait_while(request, seconds, follow())
    return await recordings.store.info(info.new.stream) or info
