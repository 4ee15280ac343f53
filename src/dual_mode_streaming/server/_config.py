"""What a connection may cost beside its answers: the limits, and how the server is given them."""

import dataclasses
from typing import Any

import uvicorn

__all__ = ["Config", "HttpLimits"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What a connection may cost before there is a request. Times are in seconds."""

    header_bytes: int = 32 * 1024
    """The most bytes that the head of a request may have, its target included: else 431."""

    header_timeout: float = 10.0
    """The longest that a head may take to arrive: else 408."""

    body_timeout: float = 30.0
    """The longest that a body may pause while nothing has been answered: else 408."""

    send_timeout: float = 30.0
    """The longest that a reader may take nothing of an answer that is made: else it is cut off."""


class Config(uvicorn.Config):
    """uvicorn's configuration, with our limits."""

    def __init__(self, app: Any, *, limits: HttpLimits, **settings: Any) -> None:
        super().__init__(app, h11_max_incomplete_event_size=limits.header_bytes, **settings)
        self.limits = limits
