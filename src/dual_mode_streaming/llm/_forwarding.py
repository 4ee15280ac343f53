"""What passes through untouched, because the caller speaks the API of the provider.

A request that came in a wire format keeps its `Origin`. A provider of the same API sends that body
and gives each chunk of the answer as `Forwarded`, together with the events that were read in it.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, runtime_checkable

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._events import StreamEvent

if TYPE_CHECKING:
    from dual_mode_streaming.llm._requests import ChatRequest

Dialect = Literal["openai-chat", "openai-responses", "anthropic"]
"""The API whose wire format a request has."""

VIA: Final = "via"
"""The header with the services that a request has passed (RFC 9110, section 7.6.3)."""

_SENT: Final = (
    *("anthropic-beta", "anthropic-version", "anthropic-user-profile-id", "openai-beta"),
    VIA,
)
_ANSWERED: Final = (
    *("request-id", "x-request-id", "retry-after", "retry-after-ms", "x-should-retry"),
    *("openai-processing-ms", "openai-version", "openai-model"),
)
_LIMITS: Final = ("x-ratelimit-", "anthropic-ratelimit-", "ratelimit")


@dataclass(slots=True)
class Origin:
    """A request as it came.

    Attributes:
        dialect: the API that the caller speaks.
        body: the whole body.
        headers: those that matter to the API, and the services it has passed.
        problem: why it cannot be said in another API, or to the simulator; None if it can.
        is_large: whether it takes long to encode the body.
        answered: called with the headers of the provider's answer that are for the caller.
    """

    dialect: Dialect
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    problem: Problem | None = None
    is_large: bool = False
    answered: Callable[[Mapping[str, str]], None] | None = None

    def translated(self) -> "Origin":
        """Return that of the same request in another API: its headers are not for that one."""
        headers = {name: value for name, value in self.headers.items() if name == VIA}
        return Origin(self.dialect, self.body, headers, is_large=self.is_large)


@dataclass(slots=True)  # not frozen: one is made for each chunk, and that takes thrice as long
class Forwarded:
    """One chunk of an answer as it came, or the whole body of one that is not streamed.

    Attributes:
        data: the JSON text of a chunk; the JSON value of a body; None if nothing is to be sent.
        events: the events that were read in it.
        name: the name of the event.
    """

    data: Any
    events: tuple[StreamEvent, ...] = ()
    name: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the answer ends with it."""
        return bool(self.events) and self.events[-1].is_final


Answer = StreamEvent | Forwarded
"""An item of an answer: an event, or what was forwarded with its events."""


@runtime_checkable
class Forwarder(Protocol):
    """A provider that can forward requests in its own API."""

    def forwards(self, request: "ChatRequest") -> bool:
        """Return whether the request has the provider's API, as far as is known."""
        ...

    def forward(self, request: "ChatRequest", stream: bool) -> AsyncGenerator[Answer, None]:
        """Yield the answer as it comes; as events if the API turns out not to be there.

        Raises:
            ProviderError: at any point.
        """
        ...


def sent_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a request that go on to a provider."""
    return {name: headers[name] for name in _SENT if name in headers}


def answered_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a provider's answer that are for the caller."""
    lowered = ((name.lower(), value) for name, value in headers.items())
    return {n: value for n, value in lowered if n in _ANSWERED or n.startswith(_LIMITS)}
