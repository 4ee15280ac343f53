"""The response of one generator: choose the representation, deliver it, answer for what goes wrong.

From request to frame the way is: negotiate here, then one `Owner` task runs a `Batch` or a
`Delivery`, which pull from the generator and render by `rendering`.
"""

import contextlib
import functools
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Unpack

from pydantic import TypeAdapter
from starlette.background import BackgroundTask
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from dual_mode_streaming.errors import BatchLimitExceeded, NotAcceptable, StreamOverflow
from dual_mode_streaming.negotiation import Negotiated, ResponseMode, negotiate, parse_flag
from dual_mode_streaming.rendering import EventFrames, ItemCodec, LineFrames
from dual_mode_streaming.running.owner import End, Owner, close_source, logger
from dual_mode_streaming.web._batch_sink import Batch, Fold
from dual_mode_streaming.web._body import share, until_disconnect
from dual_mode_streaming.web._compat import EVENT_TYPES, abort, tell_dependencies
from dual_mode_streaming.web._headers import head_of
from dual_mode_streaming.web._observing import Answer
from dual_mode_streaming.web._options import OptionOverrides, Options
from dual_mode_streaming.web._problems import (
    ECHOED,
    NOBODY,
    problem,
    problem_of,
    problem_response,
    vary_by_accept,
)
from dual_mode_streaming.web._request_state import exchange_of
from dual_mode_streaming.web._stream_sink import Delivery, Frames

__all__ = ["END_ID", "DualModeResponse"]

END_ID: Final = re.compile(r"[0-9a-f]{10}\.end")
"""The id of the last frame of a stream of ours, whatever its run."""


class DualModeResponse(Response):
    """One async generator, answered as batch JSON, Server-Sent Events or JSON Lines.

    The response owns the generator from here on: it is started, run and closed in one task, and is
    closed on every way out, also when it is never started.

    Args:
        content: the async iterator of items; its `aclose` is called, if it has one.
        mode: the representation; negotiated by `stream` and Accept if None.
        stream: an explicit wish, which wins over Accept: True for events, False for batch.
        stream_flag: the query parameter that says it where `stream` is None; None for no flag.
        codec: how the items are validated and serialised; any items by default.
        frames: makes the wire format of an event stream, if it is not to be ours.
        fold: makes the batch body from the async iterator of items; `{"data": [...]}` by default.
        fold_result: validates and serialises what the fold returns; by its own type by default.
        status_code: of a success, unless the endpoint sets another.
        headers: as for any Starlette response.
        background: as for any Starlette response; it runs when the source is closed.
        sets: FastAPI's injected `Response`: its status and headers count until the commit.
        request: if the generator reads its body: the watch for the disconnect then leaves it that.
        handles_last_event_id: the generator itself goes on where a Last-Event-ID left off.
        options: see `Options`.

    Raises, out of its `__call__`, what the generator raises before the commit; `BrokenTransfer`
    where a transfer has to break so that nobody takes it for whole.
    """

    def __init__(
        self,
        content: AsyncIterator[Any],
        *,
        mode: ResponseMode | Negotiated | None = None,
        stream: bool | None = None,
        stream_flag: str | None = "stream",
        codec: ItemCodec | None = None,
        frames: Callable[[], Frames] | None = None,
        fold: Fold | None = None,
        fold_result: TypeAdapter[Any] | None = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
        sets: Response | None = None,
        request: Request | None = None,
        handles_last_event_id: bool = False,
        **options: Unpack[OptionOverrides],
    ) -> None:
        if options:
            Options.of(options)  # a bad one is told where it is given
        self.status_code = status_code
        self.background = background
        self.raw_headers = []
        if headers is not None:
            self.init_headers(headers)
            del self.headers["content-length"]
        self.content = content
        if isinstance(mode, ResponseMode):
            mode = Negotiated(mode, mode.media_type)
        self._negotiated = mode
        self._stream = stream
        self._stream_flag = stream_flag
        self._codec = codec or _ANY
        self._frames = frames
        self._fold = fold
        self._fold_result = fold_result
        self._sets = sets
        self._request = request
        self._handles_last_event_id = handles_last_event_id
        self._overrides = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        exchange.negotiated = True
        accept, last_event_id = _asked(scope)
        answer: Response | None = None
        try:
            form = self._negotiated or self._negotiate(scope, accept)
        except NotAcceptable as error:
            answer = self.refuse(problem_of(error))
        except ValueError as error:
            answer = self.refuse(problem(422, str(error)))
        else:
            resumes = form.mode is ResponseMode.STREAM and scope["method"] == "GET"
            if resumes and END_ID.fullmatch(last_event_id):
                answer = Response(status_code=204)  # EventSource stops on it (WHATWG, 9.2.3)
                vary_by_accept(answer.headers)
            elif scope["method"] == "HEAD" or exchange.head:
                answer = Response(None, self._status(), self._head(form))
            elif (full := await exchange.admit(scope)) is not None:
                answer = self.refuse(problem(full.status_code, full.detail))
                answer.headers["retry-after"] = "1"
        if answer is not None:
            await close_source(self.content)
            return await answer(scope, receive, send)

        options = Options.of(exchange.defaults, self._overrides)
        if self._request is not None:
            receive = share(self._request, receive)
        owner = Owner(options.cleanup_timeout, functools.partial(until_disconnect, receive))
        observed = exchange.observe(form.mode, scope)
        failure: BaseException | None = None
        exchange.open(owner)
        try:
            if form.mode is ResponseMode.BATCH:
                failure = await self._answer_batch(form, owner, options, scope, receive, send)
            else:
                reset = None
                if resumes and last_event_id and not self._handles_last_event_id:
                    reset = {"reason": "not_recorded", "requested": last_event_id[:ECHOED]}
                failure = await self._answer_stream(
                    form, owner, options, reset, observed, scope, receive, send
                )
        except BaseException as error:
            failure = error
            raise
        finally:
            exchange.close(owner, failure)
            failure = None  # its traceback may hold this frame
        if self.background is not None:
            await self.background()

    def refuse(self, problem: dict[str, Any]) -> Response:
        """What is answered instead; for a subclass that tells problems in a format of its own."""
        return problem_response(problem)

    def _negotiate(self, scope: Scope, accept: str) -> Negotiated:
        stream = self._stream
        if stream is None and self._stream_flag is not None and scope["query_string"]:
            flag = QueryParams(scope["query_string"]).get(self._stream_flag)
            stream = None if flag is None else parse_flag(flag)
        return negotiate(accept, stream)

    async def _answer_batch(
        self,
        form: Negotiated,
        owner: Owner,
        options: Options,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> BaseException | None:
        """Answer with the batch. Out: the limit that it met, if it did, which was told."""
        fold, result = self._fold, self._fold_result
        batch = Batch(
            self.content, self._codec, owner=owner, options=options, fold=fold, result=result
        )
        try:
            await self._own(owner, batch.run())
        except (BatchLimitExceeded, StreamOverflow) as error:
            await self.refuse(problem_of(error))(scope, receive, send)
            return error
        answer = NOBODY
        if batch.body is not None and owner.end is None:
            answer = Response(batch.body, self._status())
            answer.raw_headers += self._head(form).raw
        await answer(scope, receive, send)
        return None

    async def _answer_stream(
        self,
        form: Negotiated,
        owner: Owner,
        options: Options,
        reset: Any,
        observed: Answer | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> BaseException | None:
        """Answer with the stream. Out: its failure, if that was told in the stream."""
        frames: Frames
        if form.mode is ResponseMode.STREAM and self._frames is not None:
            frames = self._frames()
        elif form.mode is ResponseMode.STREAM:
            run = secrets.token_hex(5)
            frames = EventFrames(
                self._codec, run, error_event=options.error_event, feed=options.feed
            )
        else:
            frames = LineFrames(self._codec)
        final: list[tuple[bytes, bytes]] | None = None

        def start() -> Message:
            nonlocal final
            head = self._head(form)
            lines = form.mode is ResponseMode.LINES
            if lines and "gzip" in Headers(scope=scope).get("accept-encoding", ""):
                head["content-encoding"] = "identity"  # or GZipMiddleware holds the lines back
            if self._sets is not None:
                final = list(self._sets.raw_headers)
            return {"type": "http.response.start", "status": self._status(), "headers": head.raw}

        delivery = Delivery(
            self.content,
            frames,
            owner=owner,
            send=send,
            start=start,
            options=options,
            reset=reset,
            observed=observed,
        )
        await self._own(owner, delivery.run())
        if not delivery.begun and owner.end is End.DISCONNECTED:
            await NOBODY(scope, receive, send)
        if self._sets is not None and final is not None and self._sets.raw_headers != final:
            logger.warning(
                "%s: headers were set after the stream had begun, and are lost", scope["path"]
            )
        failure, delivery.failure = delivery.failure, None  # its frames hold the delivery
        if failure is not None:
            await tell_dependencies(scope, failure)
        if owner.end is End.STALLED:
            await abort(scope)
        return failure

    async def _own(self, owner: Owner, work: Any) -> None:
        """Run the answer in its owner's task; every error says that Accept had a say."""
        try:
            await owner.run(work)
        except HTTPException as error:
            headers = MutableHeaders(headers=error.headers or {})
            vary_by_accept(headers)
            error.headers = dict(headers)
            raise
        finally:
            # A task cancelled before its first step has run nothing, so closed nothing.
            with contextlib.suppress(RuntimeError):  # abandoned: it still runs
                await close_source(self.content)

    def _status(self) -> int:
        if self._sets is not None and self._sets.status_code is not None:
            return self._sets.status_code
        return self.status_code

    def _head(self, form: Negotiated) -> MutableHeaders:
        return head_of(form.media_type, self, self._sets)


def _asked(scope: Scope) -> tuple[str, str]:
    """The Accept headers, as one, and the first Last-Event-ID that is not empty."""
    accept, last_event_id = b"", b""
    for name, value in scope["headers"]:
        if name == b"accept":
            accept = b"%b,%b" % (accept, value) if accept else value
        elif name == b"last-event-id":
            last_event_id = last_event_id or value
    return accept.decode("latin-1"), last_event_id.decode("latin-1")


_ANY: Final = ItemCodec(event_types=EVENT_TYPES)
