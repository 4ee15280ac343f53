"""How an endpoint answers: every setting of a response, its default and its unit, in one place."""

import dataclasses
import functools
import math
import random
from collections.abc import Mapping
from typing import Any, Final, TypedDict, get_type_hints

from dual_mode_streaming.sse import ServerSentEvent

__all__ = ["OptionOverrides", "Options"]


class OptionOverrides(TypedDict, total=False):
    """The settings that one endpoint, or one app, answers otherwise than by the defaults."""

    heartbeat: float | None
    retry: int | None
    grace: float
    send_timeout: float
    cleanup_timeout: float
    max_duration: float | None
    max_duration_jitter: float
    idle_timeout: float | None
    event_bytes: int
    feed: bool
    error_event: str
    batch_items: int
    batch_bytes: int
    batch_seconds: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of one response. Times are seconds, except `retry` (milliseconds, WHATWG)."""

    heartbeat: float | None = 15.0
    """Idle time after which a comment goes out; traffic resets it; None for never."""

    retry: int | None = None
    """The reconnection time an EventSource is told, in milliseconds; None leaves its own (3 s)."""

    grace: float = 1.0
    """How long the headers wait for the first item, so that a failure before it has its true
    status; 0 sends them at once."""

    send_timeout: float = 30.0
    """How long a reader may take nothing before its generator is freed and the connection cut."""

    cleanup_timeout: float = 5.0
    """How long a cancelled generator may take over its `finally`; then it is cancelled a second
    time, given as long again, and at last abandoned and logged."""

    max_duration: float | None = None
    """The longest an answer may last, streamed or not; None for as long as it takes."""

    max_duration_jitter: float = 0.1
    """By up to this share of itself `max_duration` is shorter, at random for each answer, so that
    readers that came together do not come again together."""

    idle_timeout: float | None = None
    """The longest that a streamed answer may go without an item; None for ever."""

    event_bytes: int = 16 * 1024 * 1024
    """The most bytes that one item of a stream may have."""

    feed: bool = False
    """The source is an endless feed, the same for all its readers: when we cut it, it ends without
    an error, and they are told to come again, at times of their own. An item of a frozen model is
    encoded once, for all who are given that very object."""

    error_event: str = "error"
    """The name of the event of a failure. `error` also fires a browser's `onerror`, with `data`."""

    batch_items: int = 100_000
    """The most items a batch answer may have."""

    batch_bytes: int = 64 * 1024 * 1024
    """The most bytes a batch answer may have."""

    batch_seconds: float = 300.0
    """The longest a batch answer may take to make."""

    def __post_init__(self) -> None:
        for name in ("send_timeout", "cleanup_timeout", "batch_seconds"):
            _check(name, getattr(self, name), minimum=0, exclusive=True)
        for name in ("heartbeat", "max_duration", "idle_timeout"):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), minimum=0, exclusive=True)
        _check("grace", self.grace, minimum=0)
        _check("max_duration_jitter", self.max_duration_jitter, minimum=0)
        if self.max_duration_jitter > 1:
            raise ValueError(
                f"max_duration_jitter is a share, at most 1, not {self.max_duration_jitter}"
            )
        for name in ("batch_items", "batch_bytes", "event_bytes"):
            _check(name, getattr(self, name), minimum=1)
        if not self.error_event:
            raise ValueError("error_event must be a name")
        ServerSentEvent(event=self.error_event, retry=self.retry)  # its ValueErrors are clear

    def duration(self) -> float | None:
        """How long one answer may last: `max_duration`, less its jitter."""
        if self.max_duration is None:
            return None
        return self.max_duration * (1 - self.max_duration_jitter * random.random())  # noqa: S311

    @classmethod
    def of(cls, *overrides: Mapping[str, Any]) -> "Options":
        """The defaults under the given overrides, the later ones winning.

        Raises TypeError for a name that is no option and ValueError for a value out of range.
        """
        if not any(overrides):
            return _DEFAULTS
        return _options(tuple(item for override in overrides for item in override.items()))


@functools.lru_cache(maxsize=1024)
def _options(items: tuple[tuple[str, Any], ...]) -> Options:
    """The options of the given names and values; there are as many as there are endpoints."""
    if unknown := {name for name, _ in items} - get_type_hints(OptionOverrides).keys():
        known = ", ".join(OptionOverrides.__annotations__)
        raise TypeError(f"no such option: {', '.join(sorted(unknown))}; there are: {known}")
    return Options(**dict(items))


def _check(name: str, value: Any, *, minimum: float, exclusive: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or math.isnan(value) or value < minimum or (exclusive and value == minimum):
        bound = f"above {minimum}" if exclusive else f"at least {minimum}"
        raise ValueError(f"{name} must be a number {bound}, not {value!r}")


_DEFAULTS: Final = Options()
