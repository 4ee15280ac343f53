"""The protocol of a stream over any number of connections, without I/O.

`Session.steps` is what both clients run; the other methods are its parts.
"""

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Final, Generic, NoReturn, TypeVar

import httpx

from dual_mode_streaming.client._events import Event, Newest, json_object
from dual_mode_streaming.client._policy import Dialect, Reconnect
from dual_mode_streaming.client._position import Position
from dual_mode_streaming.client._requests import (
    EXCERPT,
    Call,
    ResponseHead,
    clear_frames,
    is_cut,
    media_type,
    no_answer,
    reason_of,
    refusal,
    resource_of,
    was_sent,
)
from dual_mode_streaming.client._retries import Retries
from dual_mode_streaming.client._steps import RECEIVE, Send, Steps, Wait, receive_up_to
from dual_mode_streaming.errors import (
    AnswerError,
    ConnectionFailed,
    EventTooLarge,
    RequestRefused,
    StreamFailed,
    StreamReset,
    StreamTruncated,
    UnexpectedContent,
)
from dual_mode_streaming.sse import EventDecoder, ServerSentEvent

T = TypeVar("T")

_EVENT_STREAM: Final = "text/event-stream"


class Session(Generic[T]):
    """The state of one stream; its options are those of `StreamOptions`."""

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
        """How the stream ended; see `BaseEventStream.outcome`."""
        self.end_data: str | None = None
        self.last_event_id = last_event_id
        """The ID of the event that was given last."""
        self.location: httpx.URL | None = None
        """The URL of the recorded stream."""
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
        self._head: ResponseHead | None = None  # of this connection
        self._reached = False  # a response came, on any connection
        self._answered = False  # a stream began, on any connection
        self._id_at_start = last_event_id  # the ID in force when this connection began
        self._id_in_force = last_event_id
        self._count_since_start = 0  # events since the stream began, or was reset
        self._connected_at = 0.0
        self._position = Position(last_event_id if dialect.recorded else None)

    @property
    def ended(self) -> bool:
        """Whether the stream has ended."""
        return self.outcome is not None

    @property
    def delay(self) -> float:
        """Seconds to wait before the next connection."""
        return self._retries.delay

    def steps(self) -> Steps[Event[T]]:
        """Yield the I/O to perform and the events, until the stream has ended.

        Raises as `BaseEventStream` says, and httpx.HTTPError if the request cannot be sent at all.
        """
        try:
            while not self.ended:
                if self.delay:
                    yield Wait(self.delay)
                    if self.outcome is not None:  # the stream was closed meanwhile
                        return
                try:
                    head = yield Send(self.next_call())
                except httpx.HTTPError as error:
                    self.on_error(error)
                    continue
                if self.outcome is not None:
                    return
                if self.on_head(head):
                    yield from self._events()
                elif not self.ended:
                    self.on_refused((yield from receive_up_to(EXCERPT)))
        finally:
            self.close()

    def _events(self) -> Steps[Event[T]]:
        """Yield the events of one connection."""
        while not self.ended:
            try:
                chunk = yield RECEIVE
            except Exception as error:
                return self.on_error(error)
            if chunk:
                yield from self.feed(chunk)
            elif not self.ended:
                self.on_cut()
                return

    def next_call(self) -> Call:
        """Return the request to send now: the first one, or one that resumes the stream."""
        self._id_at_start = self._id_in_force = self.last_event_id
        self._decoder = EventDecoder(self._max_event_bytes, last_event_id=self.last_event_id)
        self._head = None
        self._connected_at = self._clock()
        # Spaces around a field's value are not part of it (RFC 9110, section 5.5).
        last_event_id = (self.last_event_id or "").strip(" \t") or None
        return self._target().with_headers(last_event_id=last_event_id)

    def _target(self) -> Call:
        return self._call if self.location is None else self._call.to("GET", self.location)

    def cancel_call(self) -> Call | None:
        """Return the request that cancels the recorded stream; None if it is not recorded."""
        if self.location is None:
            return None
        path = self.location.path.rstrip("/") + "/cancel"
        target = self.location.copy_with(path=path, query=None, fragment=None)
        return self._call.to("POST", target).with_headers(accept="application/json")

    def on_head(self, head: ResponseHead) -> bool:
        """Take the head of a response. Return whether a stream follows.

        If not, and the stream has not ended, `on_refused` must be called.
        """
        self._head = head
        self._reached = True
        if head.status == 204:
            self.outcome = "no-content"
            return False
        if head.is_success and not self._takes(head):  # its body may have no end
            why = "an EventSource takes status 200 only; see Dialect.only_200"
            self._fail(RequestRefused(head.status, why, {}))
        if not self._takes(head) or media_type(head.headers) != _EVENT_STREAM:
            return False
        self._answered = True
        if self._dialect.recorded:
            self.location = resource_of(head) or self.location
        return True

    def _takes(self, head: ResponseHead) -> bool:
        return head.status == 200 if self._dialect.only_200 else head.is_success

    def on_refused(self, body: bytes) -> None:
        """Try again after a response that is not a stream and begins with `body`, or raise."""
        head = self._head
        assert head is not None
        if self._takes(head):
            content_type = head.headers.get("content-type", "")
            text = body.decode("utf-8", "replace")
            self._fail(UnexpectedContent(_EVENT_STREAM, content_type, text))
        if not self._retries.after(self._target(), head, retry=self._retry):
            self._fail(refusal(head, body))

    def feed(self, chunk: bytes) -> Iterator[Event[T]]:
        """Yield the events that the chunk completes; each counts as given when it is yielded."""
        for event in self._decoded(chunk):
            # The same object: the block has no ID of its own, so it is a new event.
            own_id = event.id is not self._id_in_force
            self._id_in_force = event.id
            if not self._is_control(event) and not (own_id and self._is_duplicate(event)):
                yield self._parsed(event)
            if self.ended:
                return

    def on_error(self, error: Exception) -> None:
        """Reconnect after a failure of the connection, or raise.

        If another connection would not help, and none has worked, the error itself is raised.
        """
        if self.ended:  # the stream was closed while it was read
            return
        clear_frames(error)
        if isinstance(error, httpx.HTTPError) and is_cut(error):
            self.on_cut(error, sent=was_sent(error))
        elif self._answered:
            self._give_up("the stream cannot be resumed after what the server sent", error)
        else:
            raise error

    def on_cut(self, error: Exception | None = None, *, sent: bool = True) -> None:
        """Reconnect after the end of a connection, end the stream, or raise.

        Args:
            error: the failure of the connection; None for a clean end.
            sent: whether the server may have seen the request.
        """
        self._decoded(b"")  # raises now for an event that was too large
        if self._decoder.retry is not None:
            self._retry = self._decoder.retry / 1000
        id = self._decoder.last_event_id
        if id is not self._id_at_start and id is not None and not self._position.is_past(id):
            self.last_event_id = id  # also that of a block without data
        if error is None and self._dialect.eof == "end":
            self.outcome = "eof"
            return
        if not self._can_resume(sent):
            self._give_up(self._why_not(), error)
        if isinstance(error, httpx.HTTPError) and not self._retries.may_connect(
            error, reached=self._reached
        ):
            self._give_up("", error)
        lasted = self._clock() - self._connected_at
        if self._head is not None and lasted >= max(self._policy.max_wait, 1):
            self._retries.failed = 0
        if not self._retries.again(reason_of(error), retry=self._retry):
            failed = self._retries.failed
            why = f"the stream broke off; {failed} attempts to resume it brought no new event"
            self._give_up(why, error)
        self.reconnects += self._answered

    def close(self) -> None:
        """Mark the stream as closed by the caller, unless it has ended before."""
        self.outcome = self.outcome or "closed"

    def _decoded(self, chunk: bytes) -> list[ServerSentEvent]:
        try:
            return self._decoder.feed(chunk)
        except EventTooLarge:
            self.outcome = "failed"
            raise

    def _can_resume(self, sent: bool) -> bool:
        if self.location is None and not self._call.is_safe:
            # Nobody knows what a second request would do, unless the first never arrived.
            return not self._answered and (self._call.is_repeatable or not sent)
        nothing_came = not self._count_since_start
        return bool(self.last_event_id or nothing_came or self._dialect.eof == "reconnect")

    def _why_not(self) -> str:
        if self.location is None and not self._call.is_safe:
            return "the stream of a POST broke off, and has no Location at which to resume it"
        return "the stream broke off before its end, and has no ids with which to resume it"

    def _is_control(self, event: ServerSentEvent) -> bool:
        """Whether the event is not an item but controls the stream; it is acted upon."""
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

    def _reset(self, reset: dict[str, Any]) -> None:
        if self._on_reset is None:
            self._fail(StreamReset(reset))
        self._position = Position()
        self._count_since_start = 0
        self.last_event_id = None
        self._on_reset(reset)

    def _is_duplicate(self, event: ServerSentEvent) -> bool:
        if self._dialect.recorded and not self._position.advance(event.id):
            self.duplicates += 1
            return True
        return False

    def _parsed(self, event: ServerSentEvent) -> Event[T]:
        try:
            parsed = Event(self._read(event.data), event.event, event.id)
        except AnswerError as error:
            self._complete(error)
            raise
        self._retries.failed = 0
        self._count_since_start += 1
        if event.id is not None:
            self.last_event_id = event.id
        self.newest.add(parsed, len(event.data))
        return parsed

    def _give_up(self, why: str, cause: Exception | None) -> NoReturn:
        if not self._answered:
            self._fail(ConnectionFailed(no_answer(self._target(), cause)), cause)
        self._fail(StreamTruncated(why), cause)

    def _fail(self, error: AnswerError, cause: Exception | None = None) -> NoReturn:
        self._complete(error)
        try:
            raise error from cause
        finally:
            del error, cause  # the traceback holds this frame, which would make a cycle

    def _complete(self, error: AnswerError) -> None:
        """Add to the error what had arrived; the stream has failed."""
        error.count = self.newest.count
        error.events = tuple(self.newest.events)
        error.last_event_id = self.last_event_id
        self.outcome = self.outcome or "failed"
