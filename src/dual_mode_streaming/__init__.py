"""Write one async generator; serve it as batch JSON or as Server-Sent Events.

    from dual_mode_streaming import dual_mode

    @app.get("/reports/{name}")
    @dual_mode
    async def report(name: str) -> AsyncIterator[Section]:
        async for section in write_report(name):
            yield section

The names below are loaded on first use, so that the import costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dual_mode_streaming.errors import (
        BatchLimitExceeded,
        BrokenTransfer,
        DualModeError,
        EventTooLarge,
        ItemTooLarge,
        NotAcceptable,
    )
    from dual_mode_streaming.modes import ResponseMode, detect_mode
    from dual_mode_streaming.sse import EventDecoder, ServerSentEvent
    from dual_mode_streaming.web.admission import Admission
    from dual_mode_streaming.web.batch import first
    from dual_mode_streaming.web.endpoint import dual_mode
    from dual_mode_streaming.web.lifecycle import drain, end_at
    from dual_mode_streaming.web.observing import Observer
    from dual_mode_streaming.web.openapi import install
    from dual_mode_streaming.web.response import DualModeResponse
    from dual_mode_streaming.web.tokens import TokenSigner

__all__ = [
    "Admission",
    "BatchLimitExceeded",
    "BrokenTransfer",
    "DualModeError",
    "DualModeResponse",
    "EventDecoder",
    "EventTooLarge",
    "ItemTooLarge",
    "NotAcceptable",
    "Observer",
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
    "Admission": "web.admission",
    "BatchLimitExceeded": "errors",
    "BrokenTransfer": "errors",
    "DualModeError": "errors",
    "DualModeResponse": "web.response",
    "EventDecoder": "sse",
    "EventTooLarge": "errors",
    "ItemTooLarge": "errors",
    "NotAcceptable": "errors",
    "Observer": "web.observing",
    "ResponseMode": "modes",
    "ServerSentEvent": "sse",
    "TokenSigner": "web.tokens",
    "detect_mode": "modes",
    "drain": "web.lifecycle",
    "dual_mode": "web.endpoint",
    "end_at": "web.lifecycle",
    "first": "web.batch",
    "install": "web.openapi",
}


def __getattr__(name: str) -> Any:
    try:
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
