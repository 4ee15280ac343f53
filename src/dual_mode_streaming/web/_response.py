"""The response of one generator.

`RequestState.begin` negotiates and admits the request. Then one `Owner` task runs a batch sink or a
stream sink, which pulls from the source and renders the items.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Unpack

from starlette.background import BackgroundTask
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dual_mode_streaming.errors import BatchLimitExceeded, BrokenTransfer, Problem, StreamOverflow
from dual_mode_streaming.negotiation import Negotiated, ResponseMode
from dual_mode_streaming.rendering import (
    EventFrames,
    Frames,
    ItemCodec,
    LineFrames,
    Representation,
)
from dual_mode_streaming.running.owner import End, Owner, logger
from dual_mode_streaming.running.pull import close_source
from dual_mode_streaming.web._batch_sink import BatchSink
from dual_mode_streaming.web._body import share
from dual_mode_streaming.web._channel_source import items_of
from dual_mode_streaming.web._compat import EVENT_TYPES, abort, fail_dependencies
from dual_mode_streaming.web._headers import check_head, headers_of, sendable, with_injected
from dual_mode_streaming.web._options import Options, resolved_options
from dual_mode_streaming.web._problems import (
    CLIENT_GONE,
    MAX_ECHO,
    problem_of,
    render_problem,
)
from dual_mode_streaming.web._request_state import Begun, RequestState, request_state
from dual_mode_streaming.web._sources import ResponseReturned, Returned
from dual_mode_streaming.web._stream_sink import Start, StreamSink

ANY_ITEMS: Final = Representation(ItemCodec(event_types=EVENT_TYPES))
"""Items of any type, as JSON by their own type."""


class DualModeResponse(Response):
    """Answer one async generator as batch JSON, Server-Sent Events or JSON Lines.

    The response owns the generator: it runs and closes it in one task. It closes it in every case,
    even if it was never started.

    Args:
        content: the async iterator of items. Its `aclose` is called, if it has one.
        mode: the mode of the answer; negotiated by `stream_flag` and Accept if None.
        stream_flag: the query parameter that decides before Accept does; None for no flag.
        representation: how items become JSON, events and the batch body; any items by default.
        status_code: the status of a success, unless the endpoint sets another.
        headers: as for any Starlette response.
        background: as for any Starlette response; it runs after the source is closed.
        injected: FastAPI's injected `Response`; its status and headers are merged until the
            headers are sent.
        request: the request, if the generator reads its body. The watch for the disconnect then
            passes the body on to the generator.
        handles_last_event_id: the generator itself continues after a Last-Event-ID.
        options: see `Options`.

    Raises:
        TypeError: there is no such option.
        ValueError: an option is out of range.
        BrokenTransfer: when called; the transfer must break, so that no client takes it as
            complete.
        Exception: when called; whatever the generator raises before the headers are sent.
    """

    continues = False  # whether the next answer goes on where this one is interrupted

    def __init__(
        self,
        content: AsyncIterator[Any],
        *,
        mode: ResponseMode | Negotiated | None = None,
        stream_flag: str | None = "stream",
        representation: Representation = ANY_ITEMS,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
        injected: Response | None = None,
        request: Request | None = None,
        handles_last_event_id: bool = False,
        **options: Unpack[Options],
    ) -> None:
        if options:
            resolved_options(options)  # a wrong option is an error here
        self.status_code = status_code
        self.background = background
        self.raw_headers = []
        if headers is not None:
            self.init_headers(headers)
            del self.headers["content-length"]
        self.content = content
        if isinstance(mode, ResponseMode):
            mode = Negotiated(mode, mode.media_type)
        self._mode = mode
        self._stream_flag = stream_flag
        self._representation = representation
        self._injected = injected
        self._request = request
        self._handles_last_event_id = handles_last_event_id
        self._overrides = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = request_state(scope)
        try:
            begun = await state.begin(scope, self._mode, self._stream_flag)
        except Problem as problem:
            await close_source(self.content)
            return await self.render_problem(problem)(scope, receive, send)
        if begun.ended or begun.head:
            await close_source(self.content)
            return await self._without_generator(begun)(scope, receive, send)

        options = resolved_options(state.defaults, self._overrides)
        shared = state.receive or share(self._request, receive)
        owner = Owner(options["cleanup_timeout"], shared.until_disconnect)
        failure: BaseException | None = None
        instead: Response | None = None
        state.observe(begun.form.mode, scope)
        state.open(owner)
        try:
            if begun.form.mode is ResponseMode.BATCH:
                answer = self._answer_batch
            else:
                answer = self._answer_stream
            failure = await answer(begun, state, owner, options, scope, receive, send)
        except ResponseReturned as returned:
            instead = returned.response
        except BaseException as error:
            failure = error
            raise
        finally:
            state.close(owner, failure)
            failure = None  # its traceback may hold this frame
        if instead is not None:  # as FastAPI passes on the Response of an endpoint
            await instead(scope, receive, send)
        if self.background is not None:
            await self.background()

    def render_problem(self, problem: Problem) -> Response:
        """Return a refusal as a response; a wire format overrides it to render its own way."""
        return render_problem(problem)

    def _without_generator(self, begun: Begun) -> Response:
        if begun.head:
            return Response(None, self._status(), self._sent_headers(begun.form))
        return with_injected(Response(status_code=204), self._injected)

    async def _answer_batch(
        self,
        begun: Begun,
        state: RequestState,
        owner: Owner,
        options: Options,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> BaseException | None:
        """Answer with the batch. Returns the limit that was reached, if it was answered."""
        sink = BatchSink(self._representation, owner, options)
        try:
            await self._run(owner, sink)
        except (BatchLimitExceeded, StreamOverflow) as error:
            await self.render_problem(problem_of(error))(scope, receive, send)
            return error
        response = CLIENT_GONE
        if sink.body is not None and owner.end is None:
            response = Response(sink.body, self._status())
            response.raw_headers += self._sent_headers(begun.form).raw
        await response(scope, receive, send)
        return None

    async def _answer_stream(
        self,
        begun: Begun,
        state: RequestState,
        owner: Owner,
        options: Options,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> BaseException | None:
        """Answer with the stream. Returns its failure, if it was sent in the stream."""
        final: list[tuple[bytes, bytes]] | None = None
        self._follow_from(begun)

        def start() -> Start:
            nonlocal final
            headers = self._sent_headers(begun.form)
            lines = begun.form.mode is ResponseMode.LINES
            if lines and "gzip" in Headers(scope=scope).get("accept-encoding", ""):
                headers["content-encoding"] = "identity"  # or GZipMiddleware buffers the lines
            if self._injected is not None:
                final = list(self._injected.raw_headers)
            message = {
                "type": "http.response.start",
                "status": self._status(),
                "headers": headers.raw,
            }
            reset = None
            resumed = self._handles_last_event_id or self._follows
            if begun.resumes and not resumed:
                reset = {"reason": "not_recorded", "requested": begun.cursor[:MAX_ECHO]}
            return message, reset

        sink = StreamSink(
            self._frames(begun.form, options),
            owner=owner,
            send=send,
            start=start,
            continues=self._goes_on,
            options=options,
            observed=state.observed,
        )
        try:
            await self._run(owner, sink)
        except BrokenTransfer as broken:
            if broken.__cause__ is not None:
                await fail_dependencies(scope, broken.__cause__)
            raise
        if not sink.begun and owner.end is End.DISCONNECTED:
            await CLIENT_GONE(scope, receive, send)
        if self._injected is not None and final not in (None, self._injected.raw_headers):
            logger.warning(
                "%s: headers were set after they were sent, and are ignored", scope["path"]
            )
        failure, sink.failure = sink.failure, None  # its frames hold the sink
        if failure is not None:
            await fail_dependencies(scope, failure)
        if owner.end is End.STALLED:
            await abort(scope)
        return failure

    def _follow_from(self, begun: Begun) -> None:
        """Let the subscription of a channel, if the function returns one, begin at the cursor."""
        if isinstance(self.content, Returned):
            mode, cursor, codec = begun.form.mode, begun.cursor, self._representation.codec
            self.content.subscribed = lambda channel: items_of(channel, mode, cursor, codec)

    @property
    def _follows(self) -> bool:
        """Whether the items are a channel's; known when the source was called."""
        return isinstance(self.content, Returned) and self.content.follows

    def _goes_on(self) -> bool:
        """Tell whether the next answer goes on where this one is interrupted, in plain events."""
        return self._representation.frames is None and (self._follows or self.continues)

    def _frames(self, form: Negotiated, options: Options) -> Frames:
        representation = self._representation
        if form.mode is ResponseMode.LINES:
            return LineFrames(representation.codec)
        if representation.frames is not None:
            return representation.frames()
        return EventFrames(
            representation.codec,
            secrets.token_hex(5),
            error_event=options["error_event"],
            feed=options["feed"],
        )

    async def _run(self, owner: Owner, sink: BatchSink | StreamSink) -> None:
        """Run the sink in the owner's task. Every HTTPException gets `Vary: Accept`."""
        try:
            await owner.run(sink.run(self.content))
        except asyncio.CancelledError:
            if owner.end is not None or (isinstance(sink, BatchSink) and sink.body is None):
                raise
            # The source has cancelled its own task, and ended before that arrived: all is there.
        except HTTPException as error:
            if (sent := sendable(error)) is not error:
                raise sent from error
            raise
        finally:
            # A task that was cancelled before its first step has not closed it.
            with contextlib.suppress(RuntimeError):  # it was abandoned and still runs
                await close_source(self.content)

    def _status(self) -> int:
        if self._injected is not None and self._injected.status_code is not None:
            check_head(self._injected.status_code, ())
            return self._injected.status_code
        return self.status_code

    def _sent_headers(self, form: Negotiated) -> MutableHeaders:
        return headers_of(form.media_type, self, self._injected)
