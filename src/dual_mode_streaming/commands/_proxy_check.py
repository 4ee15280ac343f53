"""Whether what is in front of a URL hands events on as they come, or holds them back."""

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from dual_mode_streaming.commands._checks import Finding

if TYPE_CHECKING:
    import httpx

__all__ = ["examine", "verdict"]

_COUNT: Final = 6
_INTERVAL: Final = 0.15
_SECONDS: Final = 10.0
_ADVICE: Final = (
    "let it pass text/event-stream unbuffered: proxy_buffering off (nginx, or let it obey "
    "X-Accel-Buffering: no), flush_interval -1 (Caddy), flushpackets=on (Apache)"
)


def examine(url: str, headers: dict[str, str], timeout: float) -> Iterator[Finding]:
    """Findings about a service of ours (a URL without a path), or about one stream (any other)."""
    import httpx

    parsed = httpx.URL(url)
    ours = parsed.path in ("", "/") and not parsed.query
    limits = httpx.Timeout(min(10, timeout), read=timeout)
    with httpx.Client(timeout=limits, headers=headers, follow_redirects=True) as http:
        try:
            if ours:
                yield from _health(http, parsed)
                query = {"count": str(_COUNT), "interval": str(_INTERVAL)}
                parsed = parsed.copy_with(path="/data").copy_merge_params(query)
            yield from _stream(http, parsed, _INTERVAL if ours else None)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            yield Finding("fail", "reachable", f"{url}: {why}")


def _health(http: "httpx.Client", url: "httpx.URL") -> Iterator[Finding]:
    for path, what in (("/healthz", "reachable"), ("/readyz", "ready")):
        start = time.perf_counter()
        status = http.get(url.copy_with(path=path)).status_code
        took = f"{path} answered {status} in {(time.perf_counter() - start) * 1000:.0f} ms"
        yield Finding("ok" if status == 200 else "warn", what, took)


def _stream(http: "httpx.Client", url: "httpx.URL", interval: float | None) -> Iterator[Finding]:
    from dual_mode_streaming.sse import EventDecoder

    decoder = EventDecoder()
    arrivals: list[float] = []  # of each event
    start = time.perf_counter()
    ended = False
    with http.stream("GET", url, headers={"Accept": "text/event-stream"}) as response:
        kind = response.headers.get("content-type", "").partition(";")[0]
        if not response.is_success or kind != "text/event-stream":
            said = f"{url} answered {response.status_code} {kind}, and no stream"
            yield Finding("fail", "streaming", said)
            return
        for name in ("Via", "X-Cache", "CF-Ray"):
            if value := response.headers.get(name):
                yield Finding("note", "proxy", f"{name}: {value}")
        if encoding := response.headers.get("content-encoding"):
            hint = "what compresses must flush after each event"
            yield Finding("warn", "compression", f"Content-Encoding: {encoding}", hint)
        for chunk in response.iter_bytes():
            now = time.perf_counter() - start
            events = decoder.feed(chunk)
            ended = ended or any(event.event == "done" for event in events)
            arrivals += [now for event in events if event.event != "done"]
            if ended or now > _SECONDS or len(arrivals) >= 100:
                break
    yield verdict(arrivals, interval)


def verdict(arrivals: list[float], interval: float | None) -> Finding:
    """What the times tell at which events came, made so many seconds apart (None: unknown)."""
    count = len(arrivals)
    if count < 2:
        said = f"{count} events are too few to tell"
        return Finding("note", "buffering", said)
    gap = 0.01 if interval is None else interval / 3
    clumps = 1 + sum(b - a > gap for a, b in pairwise(arrivals))
    span = arrivals[-1] - arrivals[0]
    said = (
        f"{count} events in {clumps} arrivals over {span:.2f} s, the first at {arrivals[0]:.2f} s"
    )
    if interval is None:
        if clumps > 1:
            return Finding("ok", "buffering", said)
        return Finding("note", "buffering", f"{said}: held back, or made at once", _ADVICE)
    if clumps == 1:
        made = f"made over {interval * (count - 1):.2f} s"
        return Finding("fail", "buffering", f"{said}, though {made}: they are held back", _ADVICE)
    if clumps <= count // 2:
        return Finding("warn", "buffering", f"{said}: some are held back", _ADVICE)
    return Finding("ok", "buffering", said)
