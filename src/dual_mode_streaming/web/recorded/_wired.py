"""Recorded answers in a foreign wire format: begun, found again by their key, resumed, stopped."""

import inspect
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dual_mode_streaming.errors import Problem, StoreError
from dual_mode_streaming.negotiation import Negotiated, ResponseMode
from dual_mode_streaming.recordings import RecordingRequest, Recordings
from dual_mode_streaming.rendering import WireFormat
from dual_mode_streaming.stores import StreamInfo
from dual_mode_streaming.streams import stream_content
from dual_mode_streaming.web._fingerprint import digest, fingerprint
from dual_mode_streaming.web._problems import problem_of
from dual_mode_streaming.web._request_state import request_state
from dual_mode_streaming.web._response import DualModeResponse
from dual_mode_streaming.web._signatures import described
from dual_mode_streaming.web._spec import EndpointSpec
from dual_mode_streaming.web._wire_response import refusal
from dual_mode_streaming.web.recorded._operation import RecordedOperation
from dual_mode_streaming.web.recorded._registry import registry_of
from dual_mode_streaming.web.recorded._routes import until_ended
from dual_mode_streaming.web.recorded._wire_replay import FramePosition, wire_replay

_STREAM: Final = Negotiated(ResponseMode.STREAM, ResponseMode.STREAM.media_type)

_STOP_WAIT: Final = 5.0
"""The time in seconds that a stop waits for the end of the answer."""

_MAX_KEY: Final = 500


async def answer_recorded_wired(
    spec: EndpointSpec,
    wire: WireFormat,
    request: Request,
    values: Mapping[str, Any],
    begun: Mapping[str, Any],
    form: Negotiated,
    injected: Response,
) -> Response:
    """Answer with a new recording, or with the one that the client names by its key or cursor.

    Raises:
        Problem: the request is refused.
        StoreError: the store failed.
    """
    registry = registry_of(request.app)
    operation = registry.operation_of(spec, request)
    assert spec.record is not None
    recordings = registry.recordings_in(spec.record.store)
    state = await request_state(request.scope).begin(request.scope, form)
    if state.head:
        return DualModeResponse(stream_content(()), mode=form, injected=injected)
    requested = await fingerprint(request)
    key = begun.get("key")
    if key is not None and (not isinstance(key, str) or not 0 < len(key) <= _MAX_KEY):
        raise Problem(400, f"{wire.key}: a text of 1 to {_MAX_KEY} characters is needed")
    asked = _Asked(wire, request, recordings, operation, injected)
    if wire.key and wire.resume == "each" and state.cursor:
        return await asked.after(state.cursor)
    stored_key = asked.key(key)
    if stored_key is not None and (info := await asked.find(stored_key)) is not None:
        same = info.new.fingerprint == requested
        if same and (wire.resume == "each" or info.state == "running"):
            return asked.replayed(info)
        if wire.resume == "each":
            raise Problem(409, f"{wire.key}: {key!r} was used for another request")
        await asked.stop(info)
        await recordings.delete(info.new.stream)  # of a conversation the newest answer is kept
    recording = RecordingRequest(
        operation=operation.operation,
        owner=asked.owner,
        fingerprint=requested,
        request=operation.packed(values, begun),
        idempotency_key=stored_key,
    )
    info = await recordings.start(recording, lambda: operation.source(values))
    if info.new.fingerprint != requested:  # at the same moment
        raise Problem(409, f"{wire.key}: {key!r} is being answered already")
    return asked.replayed(info, raises_first=True)


def add_operations(endpoint: Any, spec: EndpointSpec) -> None:
    """Add the path operations `resume` and `stop` to an endpoint, which take the key."""
    wire = endpoint.dual_mode_wire = spec.wire
    if wire is None or spec.record is None or not wire.key:
        endpoint.resume = _Missing(spec, "resume")
        endpoint.stop = _Missing(spec, "stop")
        return

    async def resume(request: Request, **key: str) -> Response:
        """Read a recorded answer again."""
        try:
            return await _resumed(spec, wire, request, key[wire.key])
        except (Problem, StoreError) as error:
            return refusal(wire, problem_of(error))

    async def stop(request: Request, **key: str) -> Response:
        """Stop a running answer, in whichever worker it runs."""
        found = await _found(spec, wire, request, key[wire.key])
        stopped = found is not None and found[1].state == "running"
        if found is not None and stopped:
            await found[0].stop(found[1])
        elif found is None and wire.resume == "each":
            return refusal(wire, _unknown(wire))
        return JSONResponse({"stopped": stopped})

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter("request", kind, annotation=Request),
        inspect.Parameter(wire.key, kind, annotation=str),
    ]
    for name, operation in (("resume", resume), ("stop", stop)):
        operation.__name__ = f"{name}_{endpoint.__name__}"
        operation.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            parameters, return_annotation=None
        )
        operation.dual_mode_wire = wire  # type: ignore[attr-defined]
        setattr(endpoint, name, operation)


class _Missing:
    """A path operation that an endpoint does not have; a route to it is an error that says why."""

    def __init__(self, spec: EndpointSpec, name: str) -> None:
        self._spec = spec
        self.__name__ = name

    @property
    def __signature__(self) -> inspect.Signature:
        spec, name = self._spec, described(self._spec.function)["__qualname__"]
        why = "needs record=True: @dual_mode(wire=…, record=True)"
        if spec.wire is None:
            why = "is for a wire format, as in @dual_mode(wire=UIMessageStream(), record=True)"
            if spec.record is not None:
                why += "; another recorded stream is read and cancelled at its Location"
        elif not spec.wire.key:
            why = f"does not exist: answers of {type(spec.wire).__name__} have no key"
        raise TypeError(f"{name}.{self.__name__} {why}")

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Raise TypeError."""
        return self.__signature__


class _Asked:
    """What a request asks of the recorded answers of one operation."""

    def __init__(
        self,
        wire: WireFormat,
        request: Request,
        recordings: Recordings,
        operation: RecordedOperation,
        injected: Response | None = None,
    ) -> None:
        self.owner = registry_of(request.app).owner_of(request)
        self._wire = wire
        self._request = request
        self._recordings = recordings
        self._operation = operation
        self._injected = injected

    def key(self, key: str | None) -> str | None:
        """Return the key in the store; that of an Idempotency-Key if the answer has none."""
        kind = "key"
        if key is None:
            kind, key = "idempotency", self._request.headers.get("idempotency-key")
        name = self._operation.operation.name
        return None if key is None else digest(self.owner, name, kind, key)

    async def find(self, stored_key: str) -> StreamInfo | None:
        """Return the answer with a key, if there is one and its items are still stored."""
        info = await self._recordings.find_by_key(stored_key, self.owner)
        return None if info is None or info.expired else info

    async def after(self, cursor: str) -> Response:
        """Return the rest of an answer after the id of a frame. Raises Problem."""
        position = FramePosition.parse(cursor)
        if position is None:
            raise _unknown(self._wire)
        info = await self._recordings.find(position.stream, self.owner)
        if info is None or info.expired or info.new.operation != self._operation.operation.name:
            raise _unknown(self._wire)
        if not info.has(position.generation, position.sequence):
            raise Problem(410, "the store has lost what the client has seen; ask again")
        return self.replayed(info, position)

    def replayed(
        self, info: StreamInfo, after: FramePosition | None = None, *, raises_first: bool = False
    ) -> Response:
        """Return an answer as a stream."""
        return wire_replay(
            self._request,
            self._recordings,
            info,
            self._operation,
            self._wire,
            after=after,
            raises_first=raises_first,
            injected=self._injected,
        )

    async def stop(self, info: StreamInfo) -> None:
        """Stop a running answer, and wait for its end."""
        if info.state == "running":
            await self._recordings.cancel(info.new.stream)
            await until_ended(self._request, self._recordings, info, _STOP_WAIT)


async def _found(
    spec: EndpointSpec, wire: WireFormat, request: Request, key: str
) -> tuple[_Asked, StreamInfo] | None:
    registry = registry_of(request.app)
    assert spec.record is not None
    recordings = registry.recordings_in(spec.record.store)
    for operation in registry.operations_of(spec):
        asked = _Asked(wire, request, recordings, operation)
        stored_key = asked.key(key)
        if stored_key is not None and (info := await asked.find(stored_key)) is not None:
            return asked, info
    return None


async def _resumed(spec: EndpointSpec, wire: WireFormat, request: Request, key: str) -> Response:
    found = await _found(spec, wire, request, key)
    if wire.resume == "newest":
        if found is None or found[1].state != "running":
            return Response(status_code=204)
        return found[0].replayed(found[1])
    if found is None:
        raise _unknown(wire)
    shown = request.headers.get("last-event-id") or request.query_params.get("offset", "-1")
    return found[0].replayed(found[1]) if shown == "-1" else await found[0].after(shown)


def _unknown(wire: WireFormat) -> Problem:
    return Problem(404, f"{wire.key}: there is no such answer any more; ask again")
