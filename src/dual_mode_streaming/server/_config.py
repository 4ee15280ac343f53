"""The limits of a connection, and uvicorn's configuration with them."""

from typing import Annotated, Any

import uvicorn
from pydantic import BaseModel, Field

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class HttpLimits(BaseModel):
    """The limits of a connection, outside the answers themselves."""

    header_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024
    """The maximum size of the head of a request, with its target, in bytes. Beyond it: 431."""

    header_timeout: Seconds = 10.0
    """The maximum time in seconds in which the head of a request arrives. Beyond it: 408."""

    body_timeout: Seconds = 30.0
    """The maximum pause in seconds between two parts of a body while nothing has been answered.
    Beyond it: 408."""

    send_timeout: Seconds = 30.0
    """The maximum time in seconds in which a client reads nothing of an answer. Beyond it, the
    connection is aborted."""


class Config(uvicorn.Config):
    """uvicorn's configuration, with `limits` for `StreamingProtocol`."""

    def __init__(self, app: Any, *, limits: HttpLimits, **settings: Any) -> None:
        super().__init__(app, **settings)
        self.limits = limits
