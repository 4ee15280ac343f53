"""A channel at a URL, for `publish` and `watch`: the requests of the Durable Streams protocol."""

import collections
import contextlib
import itertools
import json
import re
import time
from collections.abc import Iterator
from typing import Any, Final, Self

import httpx

from dual_mode_streaming.client import FOREIGN, DualModeClient, Event, Reconnect
from dual_mode_streaming.commands._errors import note, note_wait, shown_url
from dual_mode_streaming.commands._request_options import HTTPRequest, http_options
from dual_mode_streaming.errors import (
    AnswerError,
    RequestRefused,
    StreamTruncated,
    UnexpectedContent,
)

JSON: Final = "application/json"
NEXT: Final = "stream-next-offset"
START: Final = "-1"

_CURSOR: Final = re.compile(r"[0-9a-f]{32}\.(\d{1,16})\.(\d{1,16})", re.ASCII)


class RemoteChannel:
    """A channel at a URL. It holds one HTTP client, with the headers of the request.

    Args:
        request: the URL and the headers. Another origin never gets them.
        timeout: the time in seconds without data after which a connection counts as cut.
        attempts: how often to try again.
    """

    def __init__(self, request: HTTPRequest, timeout: float, attempts: int) -> None:
        self._url = httpx.URL(request.url)
        self._headers = request.headers
        self._timeout = timeout
        self._policy = Reconnect(attempts=attempts, on_wait=note_wait)
        self._responses = collections.deque[httpx.Response](maxlen=1)
        hooks = {"response": [self._responses.append]}
        self._http = httpx.Client(**http_options(timeout), event_hooks=hooks)
        self._client = DualModeClient(http_client=self._http, reconnect=self._policy)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def request(
        self, method: str, headers: dict[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        """Return the answer to a request, whatever its content type.

        Raises:
            AnswerError: if it is a refusal, or none came.
        """
        self._responses.clear()
        headers = {"Accept": JSON} | self._headers | (headers or {})
        url = str(self._url.copy_merge_params(options.pop("params", {})))
        with contextlib.suppress(UnexpectedContent):
            self._client.request(method, url, headers=headers, **options)
        return self._responses[-1]

    def end(self) -> str:
        """Return the offset of the end of the channel; empty if there is no channel at the URL."""
        return str(self.request("HEAD").headers.get(NEXT, ""))

    def kept(self, after: str) -> Iterator[Event[str]]:
        """Yield what there is after an offset or a cursor, and end.

        An endpoint that is no channel gives the items of its batch document, if there is no offset.
        """
        place, skipped = _parted(after)
        offset = offset_of(place)
        while True:
            response = self.request("GET", params={"offset": offset})
            if NEXT not in response.headers:
                yield from self._batch(response, after)
                return
            before, offset = offset, response.headers[NEXT]
            found = messages_of(response.text, response.headers.get("content-type", ""))
            yield from itertools.islice(_numbered(found, before, offset), skipped, None)
            skipped = max(0, skipped - len(found))
            ends = {"stream-up-to-date", "stream-closed"} & response.headers.keys()
            if ends or offset == before:  # a server may tell the end by no progress only
                return

    @staticmethod
    def _batch(response: httpx.Response, after: str) -> Iterator[Event[str]]:
        if after:
            url = shown_url(str(response.url))
            raise AnswerError(f"{url} is not a channel: it cannot be read from an offset on")
        match response.json():
            case {"data": list(items)}:
                yield from (Event(_dumped(item)) for item in items)
            case document:
                yield Event(_dumped(document))

    def follow(self, after: str) -> Iterator[Event[str]]:
        """Yield what follows an offset or a cursor, until the channel is closed.

        A server of this package sends events with ids. Another one is read by offsets.
        """
        place, skipped = _parted(after)
        events = self._client.stream(
            str(self._url),
            headers=self._headers,
            last_event_id=None if place in ("", START) else place,
            read_timeout=self._timeout,
            on_reset=_note_reset,
            keep=0,
        )
        try:
            yield from itertools.islice(events, skipped, None)
            if events.outcome not in ("done", "no-content", "closed"):
                raise StreamTruncated(f"the stream is not complete: {events.outcome}")
        except UnexpectedContent:
            if NEXT not in self._responses[-1].headers:
                raise
            yield from itertools.islice(self._by_offsets(offset_of(place)), skipped, None)

    def _by_offsets(self, offset: str) -> Iterator[Event[str]]:
        failed = 0
        while True:
            began, received = time.monotonic(), False
            error: AnswerError | None = None
            try:
                for event, closed in self._connection(offset):
                    received = received or event.data != ""
                    offset = event.id or offset
                    if event.data:
                        yield event
                    if closed:
                        return
            except RequestRefused as refusal:
                if refusal.status not in (429, 502, 503, 504):
                    raise
                error = refusal
            except AnswerError as cut:
                error = cut
            lasted = time.monotonic() - began >= self._policy.max_wait
            failed = 0 if received or lasted else failed + 1
            if error is None and not failed:
                continue  # servers end a connection after a time
            if (wait := self._policy.wait(max(failed, 1))) is None:
                raise error or StreamTruncated("the server ends each connection without a message")
            note_wait(wait, str(error or "the stream broke off"))
            time.sleep(wait)

    def _connection(self, offset: str) -> Iterator[tuple[Event[str], bool]]:
        """Yield the messages of one connection, each when the offset after it is known.

        A position without a message is an event without data. The bool says that it is the end.
        """
        url = self._url.copy_merge_params({"offset": offset, "live": "sse"})
        kind = self.request("HEAD").headers.get("content-type", "")
        events = self._client.stream(
            str(url),
            headers=self._headers,
            dialect=FOREIGN,
            reconnect=Reconnect(attempts=0),
            read_timeout=self._timeout,
            keep=0,
        )
        waiting: list[str] = []
        for event in events:
            if event.event == "data":
                waiting += messages_of(event.data, kind)
            elif event.event == "control":
                control = json.loads(event.data)
                before, offset = offset, control.get("streamNextOffset", offset)
                for message in _numbered(waiting, before, offset):
                    yield message, False
                waiting.clear()
                yield Event("", None, offset), bool(control.get("streamClosed"))


@contextlib.contextmanager
def channel_hints() -> Iterator[None]:
    """Say what the URL of a channel is, if what answers at the URL knows no channels."""
    try:
        yield
    except RequestRefused as refusal:
        if refusal.status in (404, 405) and "channel" not in refusal.detail:
            hint = "the URL of a channel is as http://HOST:PORT/channels/NAME"
            raise RequestRefused(refusal.status, f"{refusal.detail}; {hint}", {}) from None
        raise


def offset_of(position: str) -> str:
    """Return a cursor of this package as an offset; an offset as it is."""
    if (cursor := _CURSOR.fullmatch(position)) is not None:
        return f"{int(cursor[1]):016d}_{int(cursor[2]):016d}"
    return position or START


def _numbered(messages: list[str], before: str, after: str) -> Iterator[Event[str]]:
    """Yield the messages between two offsets. Only the last one has an offset after it.

    The id of another one is the offset before them, and a number of messages to skip; an offset of
    the protocol has no comma.
    """
    for number, data in enumerate(messages, 1):
        yield Event(data, None, after if number == len(messages) else f"{before},{number}")


def _parted(position: str) -> tuple[str, int]:
    """Return the offset or the cursor of a position, and how many messages after it to skip."""
    place, _, number = position.partition(",")
    return (place, int(number)) if number.isdecimal() else (position, 0)


def messages_of(body: str, content_type: str) -> list[str]:
    """Return the messages in the body of an answer: a JSON array has one an element."""
    if content_type.partition(";")[0].strip().lower() == JSON:
        return [_dumped(each) for each in json.loads(body or "[]")]
    return [body] if body else []


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _note_reset(reset: dict[str, Any]) -> None:
    note(f"dual-mode: messages may be missing, or come again: {_dumped(reset)}")
