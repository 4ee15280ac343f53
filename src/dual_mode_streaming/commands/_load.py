"""The load of a benchmark: so many connections, each asking again as soon as it has its answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from dual_mode_streaming.commands._request_options import HTTPRequest
from dual_mode_streaming.commands._statistics import LoadStatistics

if TYPE_CHECKING:
    import httpx

__all__ = ["ACCEPT", "run_load"]

ACCEPT = {
    "stream": "text/event-stream",
    "lines": "application/x-ndjson",
    "batch": "application/json",
}


class _Failed(Exception):
    """An answer that was none; the text is its kind."""


async def run_load(
    ask: HTTPRequest,
    mode: str,
    statistics: LoadStatistics,
    *,
    connections: int,
    seconds: float,
    requests: int | None,
    timeout: float,
    ends: bool = True,
) -> None:
    """Measure into `statistics` for so many seconds, or until there were so many requests.

    With `ends` a stream that is closed without an end event is an error, as our clients see it.
    """
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=connections)
    settings = httpx.Timeout(min(10, timeout), read=timeout)
    left = requests
    async with httpx.AsyncClient(limits=limits, timeout=settings, follow_redirects=True) as http:

        async def worker() -> None:
            nonlocal left
            failures = 0
            while left is None or left > 0:
                left = None if left is None else left - 1
                if await _once(http, ask, mode, statistics, ends):
                    failures = 0
                    continue
                failures += 1
                # A server that refuses at once is not asked a thousand times a second.
                await asyncio.sleep(min(1.0, 0.01 * 2 ** min(failures, 10)))

        start = time.monotonic()
        workers = [asyncio.create_task(worker()) for _ in range(connections)]
        try:
            await asyncio.wait(workers, timeout=seconds)
        finally:
            statistics.seconds = time.monotonic() - start
            for task in workers:
                task.cancel()
            results = await asyncio.gather(*workers, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _once(
    http: "httpx.AsyncClient", ask: HTTPRequest, mode: str, statistics: LoadStatistics, ends: bool
) -> bool:
    """One answer; whether it was one."""
    import httpx

    headers = {"Accept": ACCEPT[mode]} | ask.headers
    start = last = time.perf_counter()
    seen = 0
    answered = False

    def event() -> None:
        nonlocal last, seen
        now = time.perf_counter()
        (statistics.between if seen else statistics.first).add(now - last)
        last = now
        seen += 1
        statistics.events += 1

    try:
        stream = http.stream(ask.method, ask.url, headers=headers, content=ask.content)
        async with stream as response:
            answered = True
            if not response.is_success:
                raise _Failed(f"status {response.status_code}")
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status_code != 204 and mode == "stream" and kind != ACCEPT[mode]:
                raise _Failed(f"the answer is {kind or 'of no type'}")
            await _READ[mode](_counted(response, statistics), event, ends)
    except asyncio.CancelledError:
        statistics.unfinished += 1
        raise
    except httpx.TimeoutException:
        statistics.errors["timeout"] += 1
    except httpx.TransportError as error:
        why = "the answer broke off" if answered else "no connection"
        statistics.errors[f"{why}: {str(error) or type(error).__name__}"[:80]] += 1
    except _Failed as error:
        statistics.errors[str(error)] += 1
    else:
        statistics.total.add(time.perf_counter() - start)
        return True
    return False


async def _counted(response: "httpx.Response", statistics: LoadStatistics) -> AsyncIterator[bytes]:
    async for chunk in response.aiter_bytes():
        statistics.bytes += len(chunk)
        yield chunk


async def _events(chunks: AsyncIterator[bytes], event: Callable[[], None], ends: bool) -> None:
    from dual_mode_streaming.errors import EventTooLarge
    from dual_mode_streaming.sse import END_STATES, EventDecoder

    decoder = EventDecoder()
    ended = not ends
    try:
        async for chunk in chunks:
            for each in decoder.feed(chunk):
                if each.event == "error" and ends:
                    raise _Failed("event: error")
                if each.event in END_STATES and ends:
                    ended = True
                    if each.event != "done":
                        raise _Failed(f"event: {each.event}")
                else:
                    event()
    except EventTooLarge:
        raise _Failed("an event that is too large") from None
    if not ended:
        raise _Failed("the answer broke off: no end event")


async def _lines(chunks: AsyncIterator[bytes], event: Callable[[], None], ends: bool) -> None:
    async for chunk in chunks:
        for _ in range(chunk.count(b"\n")):
            event()


async def _whole(chunks: AsyncIterator[bytes], event: Callable[[], None], ends: bool) -> None:
    async for _ in chunks:
        pass


_READ = {"stream": _events, "lines": _lines, "batch": _whole}
