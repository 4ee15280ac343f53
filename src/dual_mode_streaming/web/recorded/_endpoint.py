"""The answer to a request to a recorded endpoint: of a new recording, or of one that exists."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.negotiation import Negotiated, ResponseMode
from dual_mode_streaming.recordings import Cursor, RecordingRequest, Recordings
from dual_mode_streaming.stores import StreamInfo
from dual_mode_streaming.streams import stream_content
from dual_mode_streaming.web._cursors import CURSOR_PARAMETERS
from dual_mode_streaming.web._fingerprint import digest, fingerprint
from dual_mode_streaming.web._headers import with_injected
from dual_mode_streaming.web._problems import MAX_ECHO, render_problem
from dual_mode_streaming.web._request_state import request_state
from dual_mode_streaming.web._response import DualModeResponse
from dual_mode_streaming.web._sources import ResponseReturned
from dual_mode_streaming.web._spec import EndpointSpec
from dual_mode_streaming.web.recorded._operation import RecordedOperation
from dual_mode_streaming.web.recorded._registry import location, registry_of
from dual_mode_streaming.web.recorded._replay import replay, state_of


async def answer_recorded(
    spec: EndpointSpec,
    request: Request,
    values: Mapping[str, Any],
    *,
    mode: ResponseMode | Negotiated | None,
    injected: Response,
) -> Response:
    """Return the answer of `_begin`, or its refusal as a response.

    Dependencies with `yield` see no exception then, as if nothing had been recorded.
    """
    try:
        return await _begin(spec, request, values, mode=mode, injected=injected)
    except Problem as problem:
        return render_problem(problem)


async def _begin(
    spec: EndpointSpec,
    request: Request,
    values: Mapping[str, Any],
    *,
    mode: ResponseMode | Negotiated | None,
    injected: Response,
) -> Response:
    """Answer with a new recording, or with the one whose cursor or idempotency key the client sent.

    Args:
        spec: the specification of the endpoint.
        request: the request.
        values: the arguments of the generator function.
        mode: the mode of the answer; negotiated by Accept if None.
        injected: FastAPI's injected `Response`; see `DualModeResponse`.

    Raises:
        Problem: the request is refused.
        StoreError: the store failed.
        RuntimeError: `install` was not called on the app.
    """
    assert spec.record is not None
    registry = registry_of(request.app)
    operation = registry.operation_of(spec, request)
    recordings = registry.recordings_in(spec.record.store)
    owner = registry.owner_of(request)
    status = getattr(request.scope["route"], "status_code", None) or 200
    settled = Negotiated(mode, mode.media_type) if isinstance(mode, ResponseMode) else mode
    begun = await request_state(request.scope).begin(request.scope, settled)
    if begun.head or begun.ended:
        return DualModeResponse(
            stream_content(()), mode=begun.form, status_code=status, injected=injected
        )
    requested = await fingerprint(request, {*CURSOR_PARAMETERS, spec.stream_flag.name})
    shown = begun.cursor
    if (cursor := Cursor.parse(shown)) is not None:
        info = await recordings.find(cursor.stream, owner)
        if info is not None and not info.expired:
            if (info.new.operation, info.new.fingerprint) != (operation.operation.name, requested):
                raise Problem(400, "the cursor belongs to the stream of another request")
            return attach(request, recordings, info, operation, begun.form, cursor, injected)
    key = request.headers.get("idempotency-key")
    raised: list[BaseException] = []  # by the generator, if it runs for this request

    def problem_of(error: BaseException) -> dict[str, Any]:
        if isinstance(error, Exception) and not isinstance(error, ResponseReturned):
            raised.append(error)
        return operation.operation.problem_of(error)

    recording = RecordingRequest(
        operation=dataclasses.replace(operation.operation, problem_of=problem_of),
        owner=owner,
        fingerprint=requested,
        request=operation.packed(values),
        idempotency_key=digest(owner, operation.operation.name, key) if key else None,
    )
    info = await recordings.start(recording, lambda: operation.source(values))
    if info.new.fingerprint != requested:
        raise Problem(422, "this Idempotency-Key was used with another request")
    headers = {"location": location(request, info.new.stream)}
    if _prefers_async(request):
        headers["preference-applied"] = "respond-async"
        return with_injected(JSONResponse(state_of(info), 202, headers), injected)
    return replay(
        recordings,
        info,
        operation,
        begun.form,
        after=Cursor(info.new.stream, 1, 0),
        headers=headers,
        raise_first=True,
        raised=raised,
        unknown=shown[:MAX_ECHO],
        status_code=status,
        injected=injected,
    )


def attach(
    request: Request,
    recordings: Recordings,
    info: StreamInfo,
    operation: RecordedOperation,
    form: Negotiated,
    after: Cursor,
    injected: Response | None = None,
) -> Response:
    """Return the response of a stream that exists.

    An event stream continues after the cursor. If that is the end of the stream, the status is 204,
    which stops an EventSource (WHATWG, 9.2.3). A batch and lines are always the whole stream.
    """
    headers = {"location": location(request, info.new.stream)}
    if form.mode is not ResponseMode.STREAM:
        after = Cursor(info.new.stream, 1, 0)
    elif (
        info.state != "running"
        and after.sequence >= info.head
        and info.has(after.generation, after.sequence)
    ):
        response = Response(status_code=204, headers={"location": headers["location"]})
        return with_injected(response, injected)
    return replay(
        recordings, info, operation, form, after=after, headers=headers, injected=injected
    )


def _prefers_async(request: Request) -> bool:
    """Return whether the client prefers a 202 now and the answer later (RFC 7240, section 4.1)."""
    preferences = ",".join(request.headers.getlist("prefer")).lower().split(",")
    return any(each.partition(";")[0].strip() == "respond-async" for each in preferences)
