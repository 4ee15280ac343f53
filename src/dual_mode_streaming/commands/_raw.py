"""`dual-mode stream --raw`: the bytes of one connection, and an exit code for how it ended."""

import contextlib
import json
import sys
from typing import TYPE_CHECKING

from dual_mode_streaming.commands._errors import ExitCode, code_of_status, fail, write
from dual_mode_streaming.commands._request_options import HTTPRequest, http_options

if TYPE_CHECKING:
    import httpx

    from dual_mode_streaming.client import Dialect


def copy(request: HTTPRequest, dialect: "Dialect", max_events: int | None, timeout: float) -> None:
    """Copy the response body to stdout as it comes; stop after the last event that is wanted."""
    import httpx

    from dual_mode_streaming.client._redirects import send
    from dual_mode_streaming.sse import EventDecoder

    decoder = EventDecoder(None)
    count, ended = 0, dialect.eof != "truncated"
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"} | request.headers
    with (
        httpx.Client(**http_options(timeout)) as http,
        contextlib.closing(
            send(
                http,
                http.build_request(
                    request.method, request.url, headers=headers, content=request.content
                ),
            )
        ) as response,
    ):
        status = response.status_code
        if not response.is_success:
            fail(f"the server answered {status}: {_detail(response)}", code_of_status(status))
        ended = ended or status == 204
        try:
            for chunk in response.iter_bytes():
                # Line by line, since a frame ends with a line and is counted only then.
                for line in chunk.splitlines(keepends=True):
                    if sys.stdout.isatty():
                        write(line.decode("utf-8", "replace"))
                    else:
                        sys.stdout.buffer.write(line)
                    for event in decoder.feed(line):
                        name = event.event or ""
                        ended = ended or name in dialect.end_events
                        ended = ended or (not name and event.data == dialect.end_data)
                        count += 1
                        if name == dialect.error_event:
                            sys.stdout.buffer.flush()
                            fail("the stream failed", ExitCode.BROKEN)
                    if count == max_events:
                        sys.stdout.buffer.flush()
                        return
                sys.stdout.buffer.flush()
        except httpx.TimeoutException:
            raise
        except httpx.TransportError as error:
            fail(f"the stream broke off: {error}", ExitCode.BROKEN)
    if not ended:
        fail("the stream broke off before its end event", ExitCode.BROKEN)


def _detail(response: "httpx.Response") -> str:
    """Return the detail of the RFC 9457 problem, or the reason phrase."""
    try:
        return str(json.loads(response.read())["detail"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return response.reason_phrase
