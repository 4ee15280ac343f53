"""The I/O that the clients' protocols ask for, one step at a time; nothing here performs it."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import httpx

from dual_mode_streaming.client._requests import Call

T = TypeVar("T")


class IOStep:
    """A step that a driver performs. It closes the previous response before `Wait` and `Send`.

    A driver that is closed meanwhile replies None. A failure is thrown into the protocol.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Wait(IOStep):
    """Wait for this number of seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Send(IOStep):
    """Send the request. The reply is the `ResponseHead`."""

    call: Call


@dataclass(frozen=True, slots=True)
class Receive(IOStep):
    """Read the body of the response. The reply is its next bytes, or all of them.

    At the end of the body the reply is empty.
    """

    whole: bool = False


RECEIVE: Final = Receive()
RECEIVE_ALL: Final = Receive(whole=True)

Steps: TypeAlias = Generator[IOStep | T, Any, None]
"""A protocol: a generator that yields I/O to perform and, between, values for the caller."""


def receive_up_to(limit: int) -> Generator[IOStep, bytes, bytes]:
    """Return the beginning of the response body, at most `limit` bytes."""
    body = b""
    try:
        while len(body) < limit and (chunk := (yield RECEIVE)):
            body += chunk
    except httpx.HTTPError:
        pass  # what came so far is enough
    return body[:limit]
