"""The middleware of `install`: it is around the whole app, also around its error handlers."""

import contextlib
from collections.abc import Coroutine
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.web._app_state import AppState
from dual_mode_streaming.web._body import ServerReceive
from dual_mode_streaming.web._cursors import MAX_CURSOR_BYTES, read_header
from dual_mode_streaming.web._problems import render_problem, vary_by_accept
from dual_mode_streaming.web._request_state import KEY, RequestState

_EXPOSED: Final = ("Location", "Retry-After")
"""The headers that our own page reads."""


class RequestStateMiddleware:
    """The outermost middleware of an app with `install`.

    It creates the state of each request, refuses a Last-Event-ID that is too long and a JSON body
    with too many values, adds `Vary: Accept` to the error responses of handlers, and exposes our
    headers to scripts of other origins.
    """

    def __init__(self, app: ASGIApp, state: AppState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._lifespan(scope, receive, send)
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        self._state.on_request()
        if isinstance(outer := scope.get(KEY), RequestState):  # this app is mounted in another
            outer.enter(self._state)
            return await self._app(scope, receive, send)
        self._state.begin_at_request(is_mounted="router" in scope)
        shared = ServerReceive(receive)
        scope[KEY] = state = RequestState(shared)
        state.enter(self._state)
        try:
            is_cross_origin = self._read_headers(scope, shared)
        except Problem as problem:
            return await render_problem(problem)(scope, receive, send)

        async def send_with_vary(message: Message) -> None:
            if message["type"] == "http.response.start":
                state.status = message["status"]
                if self._state.leaving and scope.get("http_version") == "1.1":
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
                if state.negotiated:
                    message.setdefault("headers", [])
                    headers = MutableHeaders(scope=message)
                    vary_by_accept(headers)
                    if is_cross_origin:
                        _expose(headers)
            await send(message)

        try:
            await self._app(scope, shared, send_with_vary)
        finally:
            state.leave()

    def _read_headers(self, scope: Scope, shared: ServerReceive) -> bool:
        """Read a cursor, and let the values of a JSON body be counted.

        Returns:
            Whether a script of another origin may have sent the request.

        Raises:
            Problem: 400, the Last-Event-ID is too long.
        """
        is_cross_origin = is_coded = False
        for name, value in scope.get("headers", ()):
            if name == b"origin":
                is_cross_origin = True
            elif name == b"content-type":
                shared.content_type = value
            elif name == b"content-encoding":
                is_coded = True  # whoever decodes it counts
            elif name == b"last-event-id":
                if len(value) > MAX_CURSOR_BYTES:
                    raise Problem(400, f"Last-Event-ID has more than {MAX_CURSOR_BYTES} bytes")
                read_header(scope)
        if not is_coded:
            shared.json_limit = self._state.body_values
        return is_cross_origin

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run what `install` needs, if the lifespan of the app has been replaced since."""
        async with contextlib.AsyncExitStack() as stack:

            async def send_begun(message: Message) -> None:
                if message["type"] == "lifespan.startup.complete" and not self._state.is_begun:
                    await stack.enter_async_context(self._state.lifespan(True))
                await send(message)

            async def receive_ended() -> Message:
                message = await receive()
                if message["type"] == "lifespan.shutdown":
                    await stack.aclose()
                return message

            await self._app(scope, receive_ended, send_begun)


def _expose(headers: MutableHeaders) -> None:
    """Let scripts of other origins read our headers; CORSMiddleware names those of the app only.

    With credentials `*` is a name like any other (Fetch, section 3.2.5).
    """
    named = ", ".join(headers.getlist("access-control-expose-headers"))
    names = {name.strip().lower() for name in named.split(",")}
    if "*" in names and headers.get("access-control-allow-credentials") != "true":
        return
    ours = [name for name in _EXPOSED if name in headers and name.lower() not in names]
    if ours:
        headers["access-control-expose-headers"] = ", ".join([*filter(None, [named]), *ours])


class WholeApp(ServerErrorMiddleware):
    """The whole app within `RequestStateMiddleware`, the handler of server errors included.

    It is a `ServerErrorMiddleware`, because others expect one here: OpenTelemetry's instrumentation
    takes the app within it, and puts it into its own. The state is made there, too, then.
    """

    def __init__(self, app: ServerErrorMiddleware, state: AppState) -> None:
        super().__init__(RequestStateMiddleware(app.app, state), app.handler, app.debug)
        self._whole = RequestStateMiddleware(app, state)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        return self._whole(scope, receive, send)  # no coroutine more, for as long as a stream
