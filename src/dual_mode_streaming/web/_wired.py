"""Answers in a foreign wire format: which requests get one, the answer, and its refusals."""

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any, Final

import pydantic_core
from starlette.requests import Request
from starlette.responses import Response

from dual_mode_streaming.errors import NotAcceptable, Problem, StoreError
from dual_mode_streaming.negotiation import Negotiated, ResponseMode, negotiate
from dual_mode_streaming.rendering import WireFormat
from dual_mode_streaming.web._problems import problem_of
from dual_mode_streaming.web._spec import EndpointSpec
from dual_mode_streaming.web._wire_response import WiredResponse, refusal, wanted
from dual_mode_streaming.web.recorded._wired import answer_recorded_wired

_MEMBERS: Final = ("headers", "key", "resume", "begin", "frames", "error")


def check_wire(wire: WireFormat | None) -> None:
    """Check the wire format that a decorator was given.

    Raises:
        TypeError: it is none.
    """
    if wire is None:
        return
    missing = [name for name in _MEMBERS if not hasattr(wire, name)]
    if isinstance(wire, type) or missing:
        lacks = f", which has no {', '.join(missing)}" if missing else ""
        raise TypeError(f"wire needs a WireFormat, such as UIMessageStream(), not {wire!r}{lacks}")
    if wire.resume not in ("newest", "each"):
        raise TypeError(f"{wire!r}: resume is 'newest' or 'each', not {wire.resume!r}")
    if wire.key and not wire.key.isidentifier():
        raise TypeError(f"{wire!r}: key is the name of a parameter, not {wire.key!r}")


def wire_form(
    wire: WireFormat, request: Request, mode: ResponseMode | None
) -> ResponseMode | Negotiated | None:
    """Return the form of an answer: the stream of its wire format, unless another one is asked for.

    Args:
        wire: the wire format. If its requests choose the mode themselves, nothing else does.
        request: the request, whose Accept may name JSON.
        mode: what the stream flag says.

    Returns:
        The form; None if Accept names nothing that is available.
    """
    if hasattr(wire, "whole"):
        return Negotiated(ResponseMode.STREAM, ResponseMode.STREAM.media_type)
    if mode is not None:
        return mode
    accept = ",".join(request.headers.getlist("accept"))
    try:
        form = negotiate(accept)
    except NotAcceptable:
        return None  # refused as for any endpoint
    if form.mode is ResponseMode.BATCH and "json" not in accept.lower():
        return Negotiated(ResponseMode.STREAM, ResponseMode.STREAM.media_type)
    return form


async def answer_wired(
    spec: EndpointSpec,
    wire: WireFormat,
    request: Request,
    values: Mapping[str, Any],
    form: Negotiated,
    injected: Response,
) -> Response:
    """Return the answer in a wire format, or its refusal in the same."""
    try:
        begun = wire.begin(await _body_of(request))
        if spec.record is not None:
            return await answer_recorded_wired(spec, wire, request, values, begun, form, injected)
    except (Problem, StoreError) as error:
        return refusal(wire, problem_of(error))
    route = request.scope.get("route")
    identity = secrets.token_hex(16)
    form, fold = wanted(wire, begun, identity, form)
    representation = dataclasses.replace(
        spec.representation_of(route), fold=fold, frames=lambda: wire.frames(begun, identity)
    )
    return WiredResponse(
        wire,
        spec.source(values),
        mode=form,
        representation=representation,
        status_code=getattr(route, "status_code", None) or 200,
        injected=injected,
        request=request,
        handles_last_event_id=True,  # the format has no reset
        **spec.options,
    )


async def _body_of(request: Request) -> Any:
    """Return the JSON body of a request; None if it has none. Raises Problem."""
    if request.method in ("GET", "HEAD") or getattr(request, "_form", None) is not None:
        return None
    content = await request.body()
    try:
        return pydantic_core.from_json(content) if content else None
    except ValueError as error:
        raise Problem(400, f"the body is not valid JSON: {error}") from error
