"""The response in a foreign wire format, whose refusals are in the same format."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from dual_mode_streaming.errors import BrokenTransfer, Problem, StoreError
from dual_mode_streaming.negotiation import Negotiated, ResponseMode
from dual_mode_streaming.rendering import Fold, WireFormat
from dual_mode_streaming.running.owner import logger
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.web._compat import fail_dependencies
from dual_mode_streaming.web._problems import problem_of, vary_by_accept
from dual_mode_streaming.web._response import DualModeResponse


class WiredResponse(DualModeResponse):
    """A dual-mode response that has the headers of a wire format, and refuses its way."""

    def __init__(self, wire: WireFormat, content: AsyncIterator[Any], **options: Any) -> None:
        headers = {**wire.headers, **(options.pop("headers", None) or {})}
        super().__init__(content, headers=headers, **options)
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; what fails before the headers is refused in the wire format."""
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await super().__call__(scope, receive, noted)
        except BrokenTransfer:
            raise
        except Exception as error:
            if has_begun:
                raise
            if not isinstance(error, HTTPException | StoreError):
                logger.error("%s: the answer failed", scope["path"], exc_info=error)
            await fail_dependencies(scope, error)
            await refusal(self._wire, problem_of(error))(scope, receive, send)

    def render_problem(self, problem: Problem) -> Response:
        """Return a refusal in the wire format."""
        return refusal(self._wire, problem)


def wanted(
    wire: WireFormat, begun: Mapping[str, Any], identity: str, form: Negotiated
) -> tuple[Negotiated, Fold | None]:
    """Return the form of an answer, and the fold of one that the request wants whole."""
    whole = getattr(wire, "whole", None)
    if whole is None or begun.get("stream") is not False:
        return form, None
    batch = Negotiated(ResponseMode.BATCH, ResponseMode.BATCH.media_type)
    return batch, lambda items: whole(begun, identity, items)


def refusal(wire: WireFormat, problem: Problem) -> Response:
    """Return a refusal in a wire format as a response."""
    body = wire.error(problem)
    is_text = isinstance(body, str)
    response = Response(
        body if is_text else dumps(body),
        problem.status_code,
        problem.headers,
        media_type="text/plain" if is_text else "application/json",
    )
    vary_by_accept(response.headers)
    return response
