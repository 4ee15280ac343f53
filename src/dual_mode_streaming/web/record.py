"""A request to a recorded endpoint: begin a recording, or find the one that is meant; answer it."""

import hashlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import pydantic_core
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dual_mode_streaming.errors import NotAcceptable
from dual_mode_streaming.modes import Negotiated, ResponseMode, negotiate
from dual_mode_streaming.owner import End
from dual_mode_streaming.recordings import Cursor, Operation, Recordings, Start
from dual_mode_streaming.rendering import ItemCodec
from dual_mode_streaming.stores.base import Info, Store, StoreError
from dual_mode_streaming.web.batch import Fold
from dual_mode_streaming.web.lifecycle import exchange_of
from dual_mode_streaming.web.options import OptionOverrides, Options
from dual_mode_streaming.web.problems import problem, problem_of, problem_response, vary_by_accept
from dual_mode_streaming.web.recorded import (
    RecordedOperation,
    location,
    record_of,
    recorded_problem,
    replay,
)

__all__ = [
    "Home",
    "Record",
    "RecordedEndpoint",
    "attach",
    "home_of",
    "last_event_id",
    "operation_name",
    "refuse",
]

_ECHOED: Final = 200
_OURS: Final = frozenset({"last_event_id", "from", "on_gap"})


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
    def known(self, name: str) -> RecordedOperation | None: ...
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
        self._adapters: dict[str, TypeAdapter[Any]] = {}
        if self.resumes:
            for name, parameter in signature.parameters.items():
                if name != "resume_from":
                    self._adapters[name] = _adapter(function, name, parameter)

    codec_of: Callable[[Any], ItemCodec]
    """The codec under a route's own options; set by the decorator."""

    def operation(self, name: str, route: Any) -> RecordedOperation:
        """The operation that the endpoint is under a route."""
        options = Options.of(self._options)
        codec = self.codec_of(route)
        operation = Operation(
            name=name,
            record_of=record_of(codec, options.error_event),
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
            options=self._options,
        )

    async def answer(
        self, request: Request, values: Mapping[str, Any], *, stream: bool | None, sets: Response
    ) -> Response:
        """Begin a recording and answer with it; or attach to the one whose cursor is shown.

        Raises RuntimeError in an app without `install`.
        """
        home = home_of(request.app)
        route = request.scope["route"]
        known = home.known(operation_name(route.methods, route.path_format))
        assert known is not None
        hub, owner = home.hub(self.store), home.owner_of(request)
        exchange_of(request.scope).negotiated = True
        try:
            form = negotiate(request.headers.getlist("accept"), stream)
        except NotAcceptable as error:
            return problem_response(problem_of(error))
        if exchange_of(request.scope).draining:
            return refuse(503, End.DRAINING.value, retry_after=1)
        fingerprint = self._fingerprint(request)
        shown = last_event_id(request) if request.method == "GET" else ""
        if (cursor := Cursor.parse(shown)) is not None:
            try:
                info = await hub.find(cursor.stream, owner)
            except StoreError as error:
                return refuse(503, str(error), retry_after=1)
            if info is not None and not info.expired:
                asked = (known.operation.name, fingerprint)
                if (info.new.operation, info.new.fingerprint) != asked:
                    return refuse(400, "the cursor is that of another request's stream")
                return attach(request, hub, info, known, form, cursor)
        claim = request.headers.get("idempotency-key")
        if claim is not None:
            claim = _digest(owner, known.operation.name, claim)
        start = Start(
            operation=known.operation,
            owner=owner,
            fingerprint=fingerprint,
            request=self._packed(values),
            claim=claim,
        )
        try:
            info = await hub.start(start, lambda: self._function(**values))
        except StoreError as error:
            return refuse(503, str(error), retry_after=1)
        if info.new.fingerprint != fingerprint:
            return refuse(422, "this Idempotency-Key was used with another request")
        where = location(request, info.new.stream)
        if "respond-async" in request.headers.get("prefer", "").replace(",", " ").lower().split():
            accepted = {"stream": info.new.stream, "state": info.state}
            headers = {"location": where, "preference-applied": "respond-async"}
            return JSONResponse(accepted, 202, headers)
        return replay(
            hub,
            info,
            known,
            form,
            after=Cursor(info.new.stream, 1, 0),
            headers=_headers(request, where),
            fails=True,
            lost=bool(shown),
            sets=sets,
        )

    def _fingerprint(self, request: Request) -> str:
        """What was asked, but not how it is to be answered."""
        ours = _OURS | {self._stream_flag}
        query = sorted(pair for pair in request.query_params.multi_items() if pair[0] not in ours)
        body: bytes = getattr(request, "_body", b"")  # what FastAPI has read of it
        return _digest(request.method, request.url.path, urlencode(query), body.hex())

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
    info: Info,
    known: RecordedOperation,
    form: Negotiated,
    after: Cursor,
) -> Response:
    """A stream from a place on; 204 if that is its end, so that an EventSource stops."""
    at_the_end = info.state != "running" and after.sequence >= info.head
    where = location(request, info.new.stream)
    if form.mode is ResponseMode.STREAM:
        if at_the_end and info.has(after.generation, after.sequence):
            response = Response(status_code=204, headers={"location": where})
            vary_by_accept(response.headers)
            return response
    else:
        after = Cursor(info.new.stream, 1, 0)  # a document is whole
    return replay(hub, info, known, form, after=after, headers=_headers(request, where))


def last_event_id(request: Request) -> str:
    """The cursor that a request shows: in its header, or in the query of who cannot set one."""
    return request.headers.get("last-event-id") or request.query_params.get("last_event_id", "")


def refuse(status: int, detail: str, *, retry_after: int | None = None) -> Response:
    """A problem as a response."""
    response = problem_response(problem(status, detail[:_ECHOED]))
    if retry_after is not None:
        response.headers["retry-after"] = str(retry_after)
    return response


def _headers(request: Request, where: str) -> dict[str, str]:
    headers = {"location": where}
    if "origin" in request.headers:
        headers["access-control-expose-headers"] = "Location"
    return headers


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


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
