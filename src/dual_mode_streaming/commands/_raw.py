"""`dual-mode stream --raw`: the bytes of one connection, and an exit code that tells its end."""

import sys
from typing import TYPE_CHECKING

from dual_mode_streaming.commands._errors import Code, fail
from dual_mode_streaming.commands._request_options import Asked

if TYPE_CHECKING:
    from dual_mode_streaming.client import Dialect

__all__ = ["copy"]


def copy(ask: Asked, dialect: "Dialect", max_events: int | None, timeout: float) -> None:
    """Write what comes to stdout as it comes; leave behind the frame of the last event wanted."""
    import httpx

    from dual_mode_streaming.client._calls import EXCERPT, Head, refusal
    from dual_mode_streaming.client._options import own_client
    from dual_mode_streaming.sse import EventDecoder

    decoder = EventDecoder(None)
    count, ended = 0, dialect.eof != "truncated"
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"} | ask.headers
    settings = own_client("", None) | {"timeout": httpx.Timeout(min(10, timeout), read=timeout)}
    with (
        httpx.Client(**settings) as http,
        http.stream(ask.method, ask.url, headers=headers, content=ask.content) as response,
    ):
        if not response.is_success:
            body = response.read()[:EXCERPT]
            raise refusal(Head.of(response), body)
        ended = ended or response.status_code == 204
        try:
            for chunk in response.iter_bytes():
                # Line by line, since a frame ends with one, and only after it is counted.
                for line in chunk.splitlines(keepends=True):
                    sys.stdout.buffer.write(line)
                    for event in decoder.feed(line):
                        name = event.event or ""
                        failed = name == dialect.error_event
                        ended = ended or name in dialect.end_events
                        ended = ended or (not name and event.data == dialect.end_data)
                        count += 1
                        if failed:
                            sys.stdout.buffer.flush()
                            fail("the stream failed", Code.BROKEN)
                    if count == max_events:
                        sys.stdout.buffer.flush()
                        return
                sys.stdout.buffer.flush()
        except httpx.TimeoutException:
            raise
        except httpx.TransportError as error:
            fail(f"the stream broke off: {error}", Code.BROKEN)
    if not ended:
        fail("the stream broke off before its end", Code.BROKEN)
