"""Write one async generator; serve it as batch JSON or as Server-Sent Events.

    from dual_mode_streaming import dual_mode

    @app.get("/reports/{name}")
    @dual_mode
    async def report(name: str) -> AsyncIterator[Section]:
        async for section in write_report(name):
            yield section

The names are loaded on first use, so importing the package is fast.
"""

from typing import TYPE_CHECKING

from dual_mode_streaming._lazy import lazy_attributes

if TYPE_CHECKING:
    from dual_mode_streaming.channels import Channel
    from dual_mode_streaming.errors import (
        BatchLimitExceeded,
        BrokenTransfer,
        DualModeError,
        EventTooLarge,
        ItemTooLarge,
        NotAcceptable,
        Problem,
    )
    from dual_mode_streaming.limits import Admission
    from dual_mode_streaming.negotiation import ResponseMode, detect_mode
    from dual_mode_streaming.sse import EventDecoder, ServerSentEvent
    from dual_mode_streaming.web._app_state import drain
    from dual_mode_streaming.web._batch_sink import first
    from dual_mode_streaming.web._endpoint import dual_mode
    from dual_mode_streaming.web._install import install
    from dual_mode_streaming.web._observing import Answer, Observer
    from dual_mode_streaming.web._options import Options
    from dual_mode_streaming.web._request_state import end_at
    from dual_mode_streaming.web._response import DualModeResponse
    from dual_mode_streaming.web._spec import Record
    from dual_mode_streaming.web._tokens import Grant, TokenSigner

__all__ = [
    "Admission",
    "Answer",
    "BatchLimitExceeded",
    "BrokenTransfer",
    "Channel",
    "DualModeError",
    "DualModeResponse",
    "EventDecoder",
    "EventTooLarge",
    "Grant",
    "ItemTooLarge",
    "NotAcceptable",
    "Observer",
    "Options",
    "Problem",
    "Record",
    "ResponseMode",
    "ServerSentEvent",
    "TokenSigner",
    "detect_mode",
    "drain",
    "dual_mode",
    "end_at",
    "first",
    "install",
]

_MODULES = {
    "Admission": "limits",
    "Answer": "web._observing",
    "BatchLimitExceeded": "errors",
    "BrokenTransfer": "errors",
    "Channel": "channels",
    "DualModeError": "errors",
    "DualModeResponse": "web._response",
    "EventDecoder": "sse",
    "EventTooLarge": "errors",
    "Grant": "web._tokens",
    "ItemTooLarge": "errors",
    "NotAcceptable": "errors",
    "Observer": "web._observing",
    "Options": "web._options",
    "Problem": "errors",
    "Record": "web._spec",
    "ResponseMode": "negotiation",
    "ServerSentEvent": "sse",
    "TokenSigner": "web._tokens",
    "detect_mode": "negotiation",
    "drain": "web._app_state",
    "dual_mode": "web._endpoint",
    "end_at": "web._request_state",
    "first": "web._batch_sink",
    "install": "web._install",
}

__getattr__ = lazy_attributes(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
