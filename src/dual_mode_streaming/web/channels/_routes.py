"""The routes of `/channels/{name}`: who may do what, and which part answers."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, FastAPI, Path
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from dual_mode_streaming.channels._log import ChannelLog, Retention
from dual_mode_streaming.channels._names import check_name
from dual_mode_streaming.errors import NotAcceptable, Problem, phrase_of
from dual_mode_streaming.negotiation import Negotiated, ResponseMode
from dual_mode_streaming.stores import StreamInfo
from dual_mode_streaming.web._app_state import app_state
from dual_mode_streaming.web._options import resolved_options
from dual_mode_streaming.web._problems import MEDIA_TYPE, render_problem
from dual_mode_streaming.web._request_state import request_state
from dual_mode_streaming.web._response import DualModeResponse
from dual_mode_streaming.web._routes import WHOLE_PATH, route_path, taken_by
from dual_mode_streaming.web.channels import _reading, _writing
from dual_mode_streaming.web.channels._protocol import (
    NO_STORE,
    SECURITY,
    ChannelConfig,
    headers_at,
    tail_of,
)
from dual_mode_streaming.web.recorded._registry import RecordingRegistry

Action = Literal["create", "write", "read", "delete"]
ChannelRule = Callable[[Request, str, Action], bool | Awaitable[bool]]
"""Returns whether a request may do something with the channel of a name."""

_ACTIONS: Final[dict[str, Action]] = {
    "PUT": "create",
    "POST": "write",
    "GET": "read",
    "HEAD": "read",
    "DELETE": "delete",
}
_OPERATIONS: Final[dict[str, tuple[Any, ...]]] = {
    "PUT": ("Create a channel", 201, 200, 400, 401, 403, 409, 413, 429, 503),
    "POST": (
        *("Append to a channel, or close it", 204, 200, 400, 401, 403, 404, 409, 413, 422, 429),
        503,
    ),
    "GET": (
        *("Read a channel: what there is, or live", 200, 204, 304, 400, 403, 404, 406, 410, 429),
        503,
    ),
    "HEAD": ("The end of a channel", 200, 400, 403, 404, 503),
    "DELETE": ("Delete a channel", 204, 400, 401, 403, 404, 429, 503),
}
"""The summary, the usual status and the others of each method."""

_WHOLE: Final = Negotiated(ResponseMode.BATCH, ResponseMode.BATCH.media_type)


class ChannelsRouter(APIRouter):
    """The routes of an app's channels. A route of the user wins, whatever the order of the two."""

    def __init__(self, app: FastAPI, prefix: str) -> None:
        super().__init__(tags=["Channels"])
        self._app = app
        self._begin = f"{prefix}/"

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as Starlette's routes do."""
        if scope["type"] != "http" or not route_path(scope).startswith(self._begin):
            return Match.NONE, {}
        if taken_by(self._app.routes, scope, self.routes) is not None:
            return Match.NONE, {}
        return super().matches(scope)


def channel_routes(
    registry: RecordingRegistry, app: FastAPI, rule: ChannelRule | None, prefix: str
) -> ChannelsRouter:
    """Return the router of an app's channels.

    Args:
        registry: the recordings of the app, in whose store the channels are.
        app: the app.
        rule: decides who may do what; None lets everyone create, and the owner do the rest.
        prefix: the path above the names.
    """
    if rule is not None:
        try:
            inspect.signature(rule).bind(Request, "name", "read")
        except TypeError:
            raise TypeError(
                f"channels must be a bool or a function of (request, name, action), not {rule!r}"
            ) from None
    routes = ChannelsRouter(app, prefix)

    async def answer(request: Request, name: str) -> Response:
        check_name(name)
        action = _ACTIONS[request.method]
        owner = registry.owner_of(request)
        if rule is not None:
            allowed = rule(request, name, action)
            if not (await allowed if inspect.isawaitable(allowed) else allowed):
                raise Problem(403, f"this client may not {action} the channel")
        elif action != "read":  # without a valid key nobody is the owner
            await app_state(app).admission.check(request, answers=False)
        log = ChannelLog(registry.recordings_at(None), name, Retention())
        info = await log.info()
        if rule is None and info is not None and info.new.owner != owner:
            if action == "create":
                raise Problem(409, "the channel exists, and has another owner")
            info = None
        largest = resolved_options(request_state(request.scope).defaults)["event_bytes"]
        if action == "create":
            return await _writing.create(request, log, owner, largest)
        if info is None:
            hint = "; PUT creates one" if action == "write" else ""
            raise Problem(404, f"there is no such channel, or it has another owner{hint}")
        if action == "write":
            return await _writing.append(request, log, info, largest)
        if action == "delete":
            await log.delete()
            return Response(status_code=204)
        return await _read(request, log, info)

    async def serve(
        request: Request, name: Annotated[str, Path(description="The name, with its slashes.")]
    ) -> Response:
        state = request_state(request.scope)
        response: Response | None = None
        try:
            await state.begin(request.scope, _WHOLE)
            response = await answer(request, name)
        except Problem as problem:
            response = render_problem(problem)
        finally:
            if not isinstance(response, DualModeResponse):  # which frees the slot itself
                state.leave()
        for header, value in SECURITY.items():
            response.headers.setdefault(header, value)
        return response

    for method, (summary, status, *others) in _OPERATIONS.items():
        routes.add_api_route(
            f"{prefix}/{{name:{WHOLE_PATH}}}",
            serve,
            methods=[method],
            summary=summary,
            status_code=status,
            responses=_described(*others),
            operation_id=f"{_ACTIONS[method]}_channel{'_head' * (method == 'HEAD')}",
            response_class=Response,
            include_in_schema=method != "HEAD",
        )
    return routes


def _described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    problem = {MEDIA_TYPE: {"schema": {"type": "object"}}}
    return {
        status: {"description": phrase_of(status), **({"content": problem} if status > 399 else {})}
        for status in statuses
    }


async def _read(request: Request, log: ChannelLog, info: StreamInfo) -> Response:
    if request.method == "HEAD" or request_state(request.scope).head:
        config = ChannelConfig.of(info)
        headers = headers_at(tail_of(info), closed=info.state != "running") | NO_STORE
        headers["content-type"] = config.content_type
        if config.ttl is not None:
            headers["stream-ttl"] = str(config.ttl)
        if config.expires_at is not None:
            headers["stream-expires-at"] = config.expires_at
        return Response(status_code=200, headers=headers)
    log.retention = _writing.retention_of(info)
    if log.retention.ttl is not None:
        await log.append(())
    form: Negotiated | None = None
    try:
        form = request_state(request.scope).negotiate(request.scope)
    except Problem as problem:
        if problem.status_code != NotAcceptable.status_code:
            raise
    if form is not None and _reading.wants_plain(request, form):
        return _reading.plain(request, log, info, form)
    return await _reading.read(request, log.recordings, info)
