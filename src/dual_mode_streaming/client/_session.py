"""One stream over any number of connections, without I/O: what comes in, and what is next.

Both clients do the same with it: send `next_call` after `delay` seconds, tell it the head of the
answer, feed it the bytes, and tell it when the connection is gone; until it has `ended`, or raises.
"""

import re
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Final, Generic, NoReturn, TypeVar

import httpx

from dual_mode_streaming.client._calls import (
    Call,
    Head,
    media_type,
    refusal,
    resource_of,
)
from dual_mode_streaming.client._events import Event, Newest, json_object
from dual_mode_streaming.client._policy import Dialect, Reconnect
from dual_mode_streaming.client._retries import Retries
from dual_mode_streaming.errors import (
    AnswerError,
    ConnectionFailed,
    EventTooLarge,
    StreamFailed,
    StreamReset,
    StreamTruncated,
    UnexpectedContent,
)
from dual_mode_streaming.sse import EventDecoder, ServerSentEvent

__all__ = ["Session"]

T = TypeVar("T")

_CURSOR: Final = re.compile(r"(.+)\.([0-9]{1,18})\.([0-9]{1,18})")
_EVENT_STREAM: Final = "text/event-stream"


class Session(Generic[T]):
    """The state of one stream.

    `outcome` is None until it has ended, then the name of the end event, or "no-content" (204),
    "eof" (the connection's clean end, where that is an end) or "closed" (by us); `end_data` is what
    the end event said. `last_event_id` is that of the event given last, `location` the recorded
    stream's URL. `reconnects` and `duplicates` count.
    """

    def __init__(
        self,
        call: Call,
        read: Callable[[str], T],
        *,
        dialect: Dialect,
        policy: Reconnect,
        last_event_id: str | None = None,
        on_reset: Callable[[dict[str, Any]], object] | None = None,
        keep: int = 1024 * 1024,
        max_event_bytes: int | None = 16 * 1024 * 1024,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.outcome: str | None = None
        self.end_data: str | None = None
        self.last_event_id = last_event_id
        self.location: httpx.URL | None = None
        self.reconnects = 0
        self.duplicates = 0
        self.newest: Newest[T] = Newest(keep)
        self._call = call
        self._read = read
        self._dialect = dialect
        self._policy = policy
        self._retries = Retries(policy)
        self._on_reset = on_reset
        self._max_event_bytes = max_event_bytes
        self._clock = clock
        self._decoder = EventDecoder(max_event_bytes)
        self._retry: float | None = None  # the server's reconnection time in seconds
        self._head: Head | None = None  # of this connection
        self._answered = False  # the head of a stream has come, on any connection
        self._since_start = 0  # events since the stream began, or began anew
        self._since = 0.0  # when this connection was made
        self._position: tuple[str, int, int] | None = _cursor(last_event_id)

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.outcome is not None

    @property
    def delay(self) -> float:
        """Seconds to wait before the next connection."""
        return self._retries.delay

    def next_call(self) -> Call:
        """The request to send now: the caller's, or one that goes on where the stream was cut."""
        self._decoder = EventDecoder(self._max_event_bytes)
        self._head = None
        self._since = self._clock()
        call = self._call if self.location is None else self._call.to("GET", self.location)
        # Spaces around a field's value are none of it (RFC 9110, 5.5), and may not be sent.
        return call.with_headers(last_event_id=(self.last_event_id or "").strip(" \t") or None)

    def cancel_call(self) -> Call | None:
        """The request that cancels the recorded stream; None if there is none."""
        if self.location is None:
            return None
        path = self.location.path.rstrip("/") + "/cancel"
        target = self.location.copy_with(path=path, query=None, fragment=None)
        return self._call.to("POST", target).with_headers(accept="application/json")

    def on_head(self, head: Head) -> bool:
        """Whether a stream follows. If not, and it has not ended, `on_refused` is told why."""
        self._head = head
        if head.status == 204:
            self.outcome = "no-content"
            return False
        if not head.is_success or media_type(head.headers) != _EVENT_STREAM:
            return False
        self._answered = True
        if self._dialect.recorded:
            self.location = resource_of(head) or self.location
        return True

    def on_refused(self, body: bytes) -> None:
        """The answer was no stream, and begins like this: come again, or raise why not."""
        head = self._head
        assert head is not None
        if head.is_success:
            told = head.headers.get("content-type", "")
            self._fail(UnexpectedContent(_EVENT_STREAM, told, body.decode("utf-8", "replace")))
        call = self._call if self.location is None else self._call.to("GET", self.location)
        if not self._retries.after(call, head, told=self._retry):
            self._fail(refusal(head, body))

    def feed(self, chunk: bytes) -> Iterator[Event[T]]:
        """The events that the chunk completes.

        To be iterated to its end, or to the end of the stream: each is counted as it is given.
        Raises StreamFailed, StreamReset, UnreadableAnswer and EventTooLarge.
        """
        for event in self._decoded(chunk):
            if self._is_control(event):
                if self.ended:
                    return
            elif not self._is_duplicate(event):
                yield self._given(event)

    def on_cut(self, error: Exception | None = None, *, sent: bool = True) -> None:
        """The connection is gone, by an error or at its clean end: go on, end, or raise why not.

        `sent` says whether the server may have seen the request. Raises StreamTruncated, or
        ConnectionFailed if there never was an answer.
        """
        self._decoded(b"")  # an event that was too large is told now, if not before
        if self._decoder.retry is not None:
            self._retry = self._decoder.retry / 1000
        id = self._decoder.last_event_id
        if id is not None and not self._is_old(id):
            self.last_event_id = id  # also of a block without data
        if error is None and self._dialect.eof == "end":
            self.outcome = "eof"
            return
        if not self._may_go_on(sent):
            self._give_up(self._why_not(), error)
        if self._head is not None and self._clock() - self._since >= max(self._policy.max_wait, 1):
            self._retries.failed = 0
        if not self._retries.again(told=self._retry):
            why = f"the stream broke off; {self._retries.failed} attempts to go on gave nothing new"
            self._give_up(why, error)
        self.reconnects += self._answered

    def on_mistake(self, error: Exception) -> None:
        """A request cannot be sent at all; raises what to say of it, or the error itself."""
        if self._answered:
            self._give_up("what the server sent cannot be gone on from", error)
        raise error

    def close(self) -> None:
        """We are leaving; an end that came before stays what it was."""
        self.outcome = self.outcome or "closed"

    def _decoded(self, chunk: bytes) -> list[ServerSentEvent]:
        try:
            return self._decoder.feed(chunk)
        except EventTooLarge:
            self.outcome = "failed"
            raise

    def _may_go_on(self, sent: bool) -> bool:
        if self.location is None and not self._call.is_safe:
            # No one knows what a second sending would do, unless it never arrived.
            return not self._answered and (self._call.may_be_repeated or not sent)
        return bool(self.last_event_id or not self._since_start or self._dialect.eof == "reconnect")

    def _why_not(self) -> str:
        if self.location is None and not self._call.is_safe:
            return "the answer to a POST broke off, and no Location says where it goes on"
        return "the stream broke off before its end, and has no ids to go on from"

    def _is_control(self, event: ServerSentEvent) -> bool:
        """Whether the event is no item, but says how the stream goes on; then that is done."""
        dialect, name = self._dialect, event.event
        if name is None:
            if dialect.end_data is None or event.data != dialect.end_data:
                return False
            self.outcome, self.end_data = "done", event.data
        elif name in dialect.end_events:
            self.outcome, self.end_data = name, event.data
        elif name == dialect.error_event:
            self.outcome = name
            self._fail(StreamFailed(event.data, json_object(event.data)))
        elif name == dialect.reset_event:
            self._reset(json_object(event.data))
            return True
        else:
            return False
        self.last_event_id = event.id if event.id is not None else self.last_event_id
        return True

    def _reset(self, told: dict[str, Any]) -> None:
        if self._on_reset is None:
            self._fail(StreamReset(told))
        self._position = None
        self._since_start = 0
        self.last_event_id = None
        self._on_reset(told)

    def _is_duplicate(self, event: ServerSentEvent) -> bool:
        if self._is_old(event.id):
            self.duplicates += 1
            return True
        self._position = _cursor(event.id) or self._position
        return False

    def _is_old(self, id: str | None) -> bool:
        """Whether the id is one of the stream that we have come from, and not newer."""
        position, cursor = self._position, _cursor(id)
        if position is None or cursor is None or not self._dialect.recorded:
            return False
        return position[0] == cursor[0] and cursor[1:] <= position[1:]

    def _given(self, event: ServerSentEvent) -> Event[T]:
        try:
            given = Event(self._read(event.data), event.event, event.id)
        except AnswerError as error:
            self._tell(error)
            raise
        self._retries.failed = 0
        self._since_start += 1
        if event.id is not None:
            self.last_event_id = event.id
        self.newest.add(given, len(event.data))
        return given

    def _give_up(self, why: str, cause: Exception | None) -> NoReturn:
        no_answer = ConnectionFailed("no answer came from the server")
        self._fail(StreamTruncated(why) if self._answered else no_answer, cause)

    def _fail(self, error: AnswerError, cause: Exception | None = None) -> NoReturn:
        self._tell(error)
        try:
            raise error from cause
        finally:
            del error, cause  # its traceback holds this frame: together they would be a cycle

    def _tell(self, error: AnswerError) -> None:
        error.count = self.newest.count
        error.events = tuple(self.newest.events)
        error.last_event_id = self.last_event_id
        self.outcome = self.outcome or "failed"


def _cursor(id: str | None) -> tuple[str, int, int] | None:
    """The id as epoch, generation and sequence, if it is one of a recorded stream."""
    match = _CURSOR.fullmatch(id) if id else None
    return None if match is None else (match[1], int(match[2]), int(match[3]))
