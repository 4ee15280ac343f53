"""The options of a response: each with its type, range, default and unit, listed once."""

import difflib
import functools
import itertools
import random
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypedDict, cast, get_type_hints

from pydantic import AfterValidator, BeforeValidator, Field, Strict, TypeAdapter, ValidationError

from dual_mode_streaming.sse import ServerSentEvent


class Default:
    """The default of an option, as a note beside its type."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _event_name(name: str) -> str:
    if not name:
        raise ValueError("must be a name")
    try:
        ServerSentEvent(event=name)
    except ValueError:  # its message names the value, too
        raise ValueError("must be one line of text") from None
    return name


def _whole(value: object) -> object:
    """Return a float that is a whole number, such as 1e6, as an int."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Seconds = Annotated[float, Strict(), Field(gt=0)]
_Count = Annotated[int, BeforeValidator(_whole), Strict(), Field(ge=1)]
_Flag = Annotated[bool, Strict()]
_EventName = Annotated[str, Strict(), AfterValidator(_event_name)]
_Milliseconds = Annotated[int, BeforeValidator(_whole), Strict(), Field(ge=0)]


class Options(TypedDict, total=False):
    """The options of a response: of one endpoint (`dual_mode(...)`) or of an app (`install(...)`).

    Times are seconds, except `retry`. An endpoint's options win over those of its app.
    """

    heartbeat: Annotated[_Seconds | None, Default(15.0)]
    """The idle time after which a comment is sent; any traffic restarts it. None sends none."""

    retry: Annotated[_Milliseconds | None, Default(None)]
    """The reconnection time for an EventSource, in milliseconds (WHATWG, 9.2.6). None keeps the
    browser's own, about 3 s."""

    grace: Annotated[float, Strict(), Field(ge=0), Default(1.0)]
    """The longest time that the headers wait for the first item. A failure before that has a status
    of its own. 0 sends the headers at once."""

    send_timeout: Annotated[_Seconds, Default(30.0)]
    """The longest time that a client may read nothing. Then its generator is closed and the
    connection is aborted."""

    cleanup_timeout: Annotated[_Seconds, Default(5.0)]
    """The time that a cancelled generator has for its `finally`. Then it is cancelled again; after
    the same time once more it is abandoned and logged."""

    max_duration: Annotated[_Seconds | None, Default(None)]
    """The longest time that an answer may last, streamed or not. For each answer it is shortened at
    random by up to a tenth, so that clients that connected together do not reconnect together."""

    idle_timeout: Annotated[_Seconds | None, Default(None)]
    """The longest time that a stream may go without an item; None for no limit."""

    event_bytes: Annotated[_Count, Default(16 * 1024 * 1024)]
    """The largest item of a stream, in bytes."""

    feed: Annotated[_Flag, Default(False)]
    """The source is an endless feed. When the server cuts it, it ends without an error, and its
    clients are asked to reconnect, each after a different delay. A frozen item is encoded once
    for all of them."""

    error_event: Annotated[_EventName, Default("error")]
    """The name of the event of a failure. `error` also fires a browser's `onerror`, with `data`."""

    batch_items: Annotated[_Count, Default(100_000)]
    """The most items of a batch answer."""

    batch_bytes: Annotated[_Count, Default(64 * 1024 * 1024)]
    """The largest batch answer, in bytes."""

    batch_seconds: Annotated[_Seconds, Default(300.0)]
    """The longest time that a batch answer may take."""


_HINTS: Final = get_type_hints(Options, include_extras=True)

DEFAULTS: Final = cast(
    Options,
    {
        name: next(note.value for note in hint.__metadata__ if isinstance(note, Default))
        for name, hint in _HINTS.items()
    },
)
"""The default of every option."""

_JITTER: Final = 0.1

KEYWORDS: Final = {
    "dual_mode": ("fold", "stream_flag", "handles_last_event_id", "record", "wire"),
    "install": (
        *("store", "limits", "owner", "observers", "admission", "signals", "drain_delay"),
        *("drain_timeout", "prefix", "body_values", "openapi", "channels"),
    ),
}
"""Their own parameters, for the message about an option that is not there."""

_ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {}


def resolved_options(*overrides: Options) -> Options:
    """Return every option: the defaults under the given overrides, the later ones winning.

    Raises:
        TypeError: there is no option of that name.
        ValueError: a value is of another type or out of range.
    """
    if not any(overrides):
        return DEFAULTS
    items = tuple(
        (name, value, type(value)) for override in overrides for name, value in override.items()
    )
    try:
        return _cached(items)
    except TypeError:  # also for a value that has no hash
        return _resolved(items)


def _resolved(items: tuple[tuple[str, Any, type], ...]) -> Options:
    """Return every option. The types of the values distinguish 1 from True in the cache."""
    options: dict[str, Any] = dict(cast(Mapping[str, Any], DEFAULTS))
    for name, value, _ in items:
        if name not in _HINTS:
            raise TypeError(_unknown(name))
        adapter = _ADAPTERS.get(name)
        if adapter is None:
            adapter = _ADAPTERS[name] = TypeAdapter(_HINTS[name])
        try:
            options[name] = adapter.validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Input ").removeprefix("Value error, ")
            raise ValueError(f"{name} {reason}, not {value!r}") from None
    return cast(Options, options)


def _unknown(name: str) -> str:
    """Return the message for an option that is not there."""
    for owner, names in KEYWORDS.items():
        if name in names:
            return f"no such option here: {name} is one of {owner}"
    known = [*_HINTS, *itertools.chain(*KEYWORDS.values())]
    if close := difflib.get_close_matches(name, known, 1):
        return f"no such option: {name}; did you mean {close[0]}?"
    return f"no such option: {name}; there are: {', '.join(_HINTS)}"


_cached = functools.lru_cache(maxsize=1024)(_resolved)  # about one for each endpoint


def duration_of(options: Options) -> float | None:
    """Return how long one answer may last, in seconds: `max_duration`, shortened at random."""
    longest = options["max_duration"]
    return None if longest is None else longest * (1 - _JITTER * random.random())  # noqa: S311
