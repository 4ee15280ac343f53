"""A request to a recorded endpoint: begin a recording, or find the one that is meant; answer it."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pydantic_core
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dual_mode_streaming.errors import NotAcceptable
from dual_mode_streaming.negotiation import Negotiated, ResponseMode, negotiate
from dual_mode_streaming.recordings import Cursor, Operation, Recordings, Start
from dual_mode_streaming.rendering import ItemCodec
from dual_mode_streaming.stores._base import Store, StoreError, StreamInfo
from dual_mode_streaming.streams import stream_content
from dual_mode_streaming.web._batch_sink import Fold
from dual_mode_streaming.web._fingerprint import digest, fingerprint
from dual_mode_streaming.web._options import OptionOverrides, Options
from dual_mode_streaming.web._problems import (
    ECHOED,
    problem_of,
    problem_response,
    refuse,
    store_failed,
    vary_by_accept,
)
from dual_mode_streaming.web._request_state import exchange_of
from dual_mode_streaming.web._response import END_ID, DualModeResponse
from dual_mode_streaming.web.recorded._replay import (
    RecordedOperation,
    location,
    record_of,
    recorded_problem,
    replay,
    state_of,
)

__all__ = [
    "Home",
    "Record",
    "RecordedEndpoint",
    "attach",
    "home_of",
    "last_event_id",
    "operation_name",
]

_CURSOR: Final = "last_event_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How an endpoint is recorded: `dual_mode(record=Record(...))`; `record=True` is the default.

    store: where; the app's store if None.
    unread: what becomes of the generator when its last reader (in its own worker) has left: it goes
        on to its end (None), or is cancelled after so many seconds.
    """

    store: Store | None = None
    unread: float | None = None


class Home(Protocol):
    """What an endpoint needs of its app's recordings."""

    def hub(self, store: Store | None = None) -> Recordings: ...
    def operation_of(self, of: "RecordedEndpoint", request: Request) -> RecordedOperation: ...
    def owner_of(self, request: Request) -> str: ...


def home_of(app: Starlette) -> Home:
    """The recordings of an app on which `install` was called. Raises RuntimeError for others."""
    home: Home | None = getattr(app.state, "dual_mode_recordings", None)
    if home is None:
        raise RuntimeError("a recorded endpoint needs install(app): it has the store and /streams")
    return home


def operation_name(methods: Iterable[str] | None, path: str) -> str:
    """The name of a route's operation: the same in every worker."""
    return f"{','.join(sorted(methods or ()))} {path}"


class RecordedEndpoint:
    """What a decorated endpoint needs to be recorded.

    A generator function with a parameter `resume_from` (a number, 0 at first) can go on where
    another worker stopped: it is called again with the same arguments and the number of items that
    are recorded. All its other parameters have to be data then, not dependencies.

    Raises TypeError if they are not.
    """

    def __init__(
        self,
        record: Record,
        function: Callable[..., Any],
        signature: inspect.Signature,
        *,
        fold: Fold | None,
        fold_result: TypeAdapter[Any] | None,
        stream_flag: str | None,
        options: OptionOverrides,
    ) -> None:
        self.store = record.store
        self._unread = record.unread
        self._function = function
        self._fold = fold
        self._fold_result = fold_result
        self._stream_flag = stream_flag
        self._options = options
        self.resumes = "resume_from" in signature.parameters
        self._begins = {"resume_from": 0} if self.resumes else {}
        self._adapters: dict[str, TypeAdapter[Any]] = {}
        if self.resumes:
            for name, parameter in signature.parameters.items():
                if name != "resume_from":
                    self._adapters[name] = _adapter(function, name, parameter)

    codec_of: Callable[[Any], ItemCodec]
    """The codec under a route's own options; set by the decorator."""

    def operation(self, name: str, route: Any, defaults: OptionOverrides) -> RecordedOperation:
        """The operation that the endpoint is under a route, in an app with such defaults."""
        overrides: OptionOverrides = {**defaults, **self._options}
        options = Options.of(overrides)
        codec = self.codec_of(route)
        operation = Operation(
            name=name,
            record_of=record_of(codec, options.error_event, options.event_bytes),
            problem_of=recorded_problem,
            resume=self._resumed if self.resumes else None,
            unread=self._unread,
            cleanup_timeout=options.cleanup_timeout,
            max_duration=options.max_duration,
        )
        return RecordedOperation(
            operation=operation,
            codec=codec,
            fold=self._fold,
            fold_result=self._fold_result,
            options=overrides,
        )

    async def answer(
        self, request: Request, values: Mapping[str, Any], *, stream: bool | None, sets: Response
    ) -> Response:
        """Begin a recording and answer with it; or attach to the one whose cursor is shown.

        Raises RuntimeError in an app without `install`.
        """
        home = home_of(request.app)
        route, known = request.scope["route"], home.operation_of(self, request)
        hub, owner = home.hub(self.store), home.owner_of(request)
        exchange_of(request.scope).negotiated = True
        try:
            form = negotiate(request.headers.getlist("accept"), stream)
        except NotAcceptable as error:
            return problem_response(problem_of(error))
        status = getattr(route, "status_code", None) or 200
        if request.method == "HEAD" or exchange_of(request.scope).head:
            return DualModeResponse(stream_content(()), mode=form, status_code=status, sets=sets)
        if (full := await exchange_of(request.scope).admit(request.scope)) is not None:
            return refuse(full.status_code, full.detail, retry_after=1)
        asked = await fingerprint(request, {_CURSOR, self._stream_flag})
        shown = last_event_id(request) if request.method == "GET" else ""
        if form.mode is ResponseMode.STREAM and END_ID.fullmatch(shown):
            return _no_more()  # of a stream that was not recorded
        if (cursor := Cursor.parse(shown)) is not None:
            try:
                info = await hub.find(cursor.stream, owner)
            except StoreError as error:
                return store_failed(error)
            if info is not None and not info.expired:
                if (info.new.operation, info.new.fingerprint) != (known.operation.name, asked):
                    return refuse(400, "the cursor is that of another request's stream")
                return attach(request, hub, info, known, form, cursor)
        key = request.headers.get("idempotency-key")
        if key:
            key = digest(owner, known.operation.name, key)
        start = Start(
            operation=known.operation,
            owner=owner,
            fingerprint=asked,
            request=self._packed(values),
            idempotency_key=key or None,
        )
        try:
            info = await hub.start(start, lambda: self._function(**values, **self._begins))
        except StoreError as error:
            return store_failed(error)
        if info.new.fingerprint != asked:
            return refuse(422, "this Idempotency-Key was used with another request")
        headers = _headers(request, location(request, info.new.stream))
        if _later(request):
            headers["preference-applied"] = "respond-async"
            return JSONResponse(state_of(info), 202, headers)
        return replay(
            hub,
            info,
            known,
            form,
            after=Cursor(info.new.stream, 1, 0),
            headers=headers,
            fails=True,
            lost=shown[:ECHOED],
            status_code=status,
            sets=sets,
        )

    def _packed(self, values: Mapping[str, Any]) -> bytes:
        if not self.resumes:
            return b""
        packed = {
            name: adapter.dump_python(values[name], mode="json", by_alias=True)
            for name, adapter in self._adapters.items()
        }
        return pydantic_core.to_json(packed)

    def _resumed(self, request: bytes, items: int) -> AsyncIterator[Any]:
        packed = pydantic_core.from_json(request)
        values = {name: self._adapters[name].validate_python(packed[name]) for name in packed}
        source: AsyncIterator[Any] = self._function(**values, resume_from=items)
        return source


def attach(
    request: Request,
    hub: Recordings,
    info: StreamInfo,
    known: RecordedOperation,
    form: Negotiated,
    after: Cursor,
) -> Response:
    """A stream from a place on; 204 if that is its end, so that an EventSource stops."""
    at_the_end = info.state != "running" and after.sequence >= info.head
    where = location(request, info.new.stream)
    if form.mode is ResponseMode.STREAM:
        if at_the_end and info.has(after.generation, after.sequence):
            return _no_more(location=where)
    else:
        after = Cursor(info.new.stream, 1, 0)  # a document is whole
    return replay(hub, info, known, form, after=after, headers=_headers(request, where))


def last_event_id(request: Request) -> str:
    """The cursor that a request shows: in its header, or in the query of who cannot set one."""
    return request.headers.get("last-event-id") or request.query_params.get(_CURSOR, "")


def _headers(request: Request, where: str) -> dict[str, str]:
    headers = {"location": where}
    if "origin" in request.headers:
        headers["access-control-expose-headers"] = "Location"
    return headers


def _no_more(**headers: str) -> Response:
    response = Response(status_code=204, headers=headers)
    vary_by_accept(response.headers)
    return response


def _later(request: Request) -> bool:
    """Whether the answer is to come later (RFC 7240)."""
    preferences = ",".join(request.headers.getlist("prefer")).lower().split(",")
    return any(each.partition(";")[0].strip() == "respond-async" for each in preferences)


def _adapter(
    function: Callable[..., Any], name: str, parameter: inspect.Parameter
) -> TypeAdapter[Any]:
    try:
        annotation = parameter.annotation
        return TypeAdapter(Any if annotation is inspect.Parameter.empty else annotation)
    except Exception as error:
        raise TypeError(
            f"{function.__qualname__} cannot be resumed: its parameter {name!r} is no data"
        ) from error
