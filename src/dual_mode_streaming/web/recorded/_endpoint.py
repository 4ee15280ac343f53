"""A request to a recorded endpoint: start a recording, or find the one that is meant; answer it."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.negotiation import Negotiated, ResponseMode
from dual_mode_streaming.recordings import Cursor, Recordings, Start
from dual_mode_streaming.stores import StreamInfo
from dual_mode_streaming.streams import stream_content
from dual_mode_streaming.web._fingerprint import digest, fingerprint
from dual_mode_streaming.web._problems import MAX_ECHO, vary_by_accept
from dual_mode_streaming.web._request_state import request_state
from dual_mode_streaming.web._response import DualModeResponse
from dual_mode_streaming.web._spec import EndpointSpec
from dual_mode_streaming.web.recorded._operation import RecordedOperation, parameter_adapters
from dual_mode_streaming.web.recorded._registry import registry_of
from dual_mode_streaming.web.recorded._replay import location, replay, state_of

__all__ = ["RecordedEndpoint", "attach", "last_event_id"]

_CURSOR = "last_event_id"


class RecordedEndpoint:
    """Answers the requests to one recorded endpoint.

    Raises TypeError if its function has `resume_from` and a parameter that is no data.
    """

    def __init__(self, spec: EndpointSpec) -> None:
        parameter_adapters(spec)  # what cannot be resumed is an error here
        self._spec = spec

    async def answer(
        self,
        request: Request,
        values: Mapping[str, Any],
        *,
        mode: ResponseMode | None,
        injected: Response,
    ) -> Response:
        """Start a recording and answer with it, or attach to the one whose cursor is shown.

        Raises:
            Problem: the request is refused.
            StoreError: the store does not answer.
            RuntimeError: `install` was not called on the app.
        """
        registry = registry_of(request.app)
        operation = registry.operation_of(self._spec, request)
        assert self._spec.record is not None
        recordings = registry.recordings_in(self._spec.record.store)
        owner = registry.owner_of(request)
        status = getattr(request.scope["route"], "status_code", None) or 200
        settled = None if mode is None else Negotiated(mode, mode.media_type)
        begun = await request_state(request.scope).begin(request.scope, settled)
        if begun.head or begun.ended:
            return DualModeResponse(
                stream_content(()), mode=begun.form, status_code=status, injected=injected
            )
        asked = await fingerprint(request, {_CURSOR, self._spec.stream_flag})
        shown = last_event_id(request) if request.method == "GET" else ""
        if (cursor := Cursor.parse(shown)) is not None:
            info = await recordings.find(cursor.stream, owner)
            if info is not None and not info.expired:
                if (info.new.operation, info.new.fingerprint) != (operation.operation.name, asked):
                    raise Problem(400, "the cursor belongs to the stream of another request")
                return attach(request, recordings, info, operation, begun.form, cursor)
        start = Start(
            operation=operation.operation,
            owner=owner,
            fingerprint=asked,
            request=operation.packed(values),
            idempotency_key=self._idempotency_key(request, owner, operation),
        )
        info = await recordings.start(start, lambda: operation.source(values))
        if info.new.fingerprint != asked:
            raise Problem(422, "this Idempotency-Key was used with another request")
        headers = _headers(request, location(request, info.new.stream))
        if _prefers_async(request):
            headers["preference-applied"] = "respond-async"
            return JSONResponse(state_of(info), 202, headers)
        return replay(
            recordings,
            info,
            operation,
            begun.form,
            after=Cursor(info.new.stream, 1, 0),
            headers=headers,
            raise_first=True,
            unknown=shown[:MAX_ECHO],
            status_code=status,
            injected=injected,
        )

    @staticmethod
    def _idempotency_key(request: Request, owner: str, operation: RecordedOperation) -> str | None:
        key = request.headers.get("idempotency-key")
        return digest(owner, operation.operation.name, key) if key else None


def attach(
    request: Request,
    recordings: Recordings,
    info: StreamInfo,
    operation: RecordedOperation,
    form: Negotiated,
    after: Cursor,
) -> Response:
    """Return a stream after a cursor; 204 if that is its end, so that an EventSource stops."""
    at_end = info.state != "running" and after.sequence >= info.head
    headers = _headers(request, location(request, info.new.stream))
    if form.mode is ResponseMode.STREAM:
        if at_end and info.has(after.generation, after.sequence):
            response = Response(status_code=204, headers={"location": headers["location"]})
            vary_by_accept(response.headers)
            return response
    else:
        after = Cursor(info.new.stream, 1, 0)  # a document is whole
    return replay(recordings, info, operation, form, after=after, headers=headers)


def last_event_id(request: Request) -> str:
    """Return the cursor that a request shows: its header, or its query if it can set no header."""
    return request.headers.get("last-event-id") or request.query_params.get(_CURSOR, "")


def _headers(request: Request, where: str) -> dict[str, str]:
    headers = {"location": where}
    if "origin" in request.headers:
        headers["access-control-expose-headers"] = "Location"
    return headers


def _prefers_async(request: Request) -> bool:
    """Return whether the client prefers a 202 now and the answer later (RFC 7240, section 4.1)."""
    preferences = ",".join(request.headers.getlist("prefer")).lower().split(",")
    return any(each.partition(";")[0].strip() == "respond-async" for each in preferences)
