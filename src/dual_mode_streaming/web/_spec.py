"""What is known of a decorated endpoint: for its OpenAPI document, its recordings, and tests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dual_mode_streaming.rendering import ItemCodec
from dual_mode_streaming.web._options import OptionOverrides
from dual_mode_streaming.web.recorded._endpoint import RecordedEndpoint

__all__ = ["DualModeEndpoint", "endpoint_of", "mark"]

_ATTRIBUTE = "__dual_mode__"


@dataclass(frozen=True, slots=True)
class DualModeEndpoint:
    """What is known of one; `query_flag` is the stream flag that FastAPI does not know of."""

    function: Callable[..., Any]
    codec: ItemCodec
    batch_type: Any
    query_flag: str | None
    options: OptionOverrides
    recorded: RecordedEndpoint | None = None


def endpoint_of(endpoint: Any) -> DualModeEndpoint | None:
    """What is known of a path operation function if `dual_mode` made it; else None."""
    known = getattr(endpoint, _ATTRIBUTE, None)
    return known if isinstance(known, DualModeEndpoint) else None


def mark(endpoint: Any, known: DualModeEndpoint) -> None:
    """Let it be known of an endpoint."""
    setattr(endpoint, _ATTRIBUTE, known)
