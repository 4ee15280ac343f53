"""Whether a proxy in front of a URL passes events on as they come, or buffers them."""

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from dual_mode_streaming.commands._checks import CheckResult
from dual_mode_streaming.commands._errors import shown_url
from dual_mode_streaming.commands._request_options import http_options

if TYPE_CHECKING:
    import httpx

_COUNT: Final = 6
_INTERVAL: Final = 0.15
_SECONDS: Final = 10.0
_ADVICE: Final = (
    "do not buffer text/event-stream: proxy_buffering off (nginx, unless it obeys "
    "X-Accel-Buffering: no), flush_interval -1 (Caddy), flushpackets=on (Apache)"
)


def check_url(url: str, headers: dict[str, str], timeout: float) -> Iterator[CheckResult]:
    """Check a service of this package (a URL without a path), or one stream (any other URL)."""
    import httpx

    parsed = httpx.URL(url)
    ours = parsed.path in ("", "/") and not parsed.query
    with httpx.Client(headers=headers, **http_options(timeout)) as http:
        try:
            if ours:
                yield from _health(http, parsed)
                query = {"count": str(_COUNT), "interval": str(_INTERVAL)}
                parsed = parsed.copy_with(path="/data").copy_merge_params(query)
            yield from _stream(http, parsed, _INTERVAL if ours else None)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            yield CheckResult("fail", "reachable", f"{shown_url(url)}: {why}")


def _health(http: "httpx.Client", url: "httpx.URL") -> Iterator[CheckResult]:
    for path, what in (("/healthz", "reachable"), ("/readyz", "ready")):
        start = time.perf_counter()
        status = http.get(url.copy_with(path=path)).status_code
        took = f"{path} answered {status} in {(time.perf_counter() - start) * 1000:.0f} ms"
        yield CheckResult("ok" if status == 200 else "warn", what, took)


def _stream(
    http: "httpx.Client", url: "httpx.URL", interval: float | None
) -> Iterator[CheckResult]:
    from dual_mode_streaming.sse import EventDecoder

    decoder = EventDecoder()
    arrivals: list[float] = []  # seconds from the request to each event
    start = time.perf_counter()
    ended = False
    with http.stream("GET", url, headers={"Accept": "text/event-stream"}) as response:
        kind = response.headers.get("content-type", "").partition(";")[0]
        if not response.is_success or kind != "text/event-stream":
            said = f"answered {response.status_code} {kind}, not text/event-stream"
            said = f"{shown_url(str(url))} {said}"
            yield CheckResult("fail", "streaming", said)
            return
        for name in ("Via", "X-Cache", "CF-Ray"):
            if value := response.headers.get(name):
                yield CheckResult("note", "proxy", f"{name}: {value}")
        if encoding := response.headers.get("content-encoding"):
            hint = "whatever compresses the response must flush after each event"
            yield CheckResult("warn", "compression", f"Content-Encoding: {encoding}", hint)
        for chunk in response.iter_bytes():
            now = time.perf_counter() - start
            events = decoder.feed(chunk)
            ended = ended or any(event.event == "done" for event in events)
            arrivals += [now for event in events if event.event != "done"]
            if ended or now > _SECONDS or len(arrivals) >= 100:
                break
    yield verdict(arrivals, interval)


def verdict(arrivals: list[float], interval: float | None) -> CheckResult:
    """Judge from the times at which events came whether they were buffered.

    Args:
        arrivals: seconds from the request to each event.
        interval: seconds between the events at their source; None if unknown.
    """
    count = len(arrivals)
    if count < 2:
        said = f"{count} events are too few for this check"
        return CheckResult("note", "buffering", said)
    gap = 0.01 if interval is None else interval / 3
    groups = 1 + sum(b - a > gap for a, b in pairwise(arrivals))
    span = arrivals[-1] - arrivals[0]
    said = (
        f"{count} events in {groups} arrivals over {span:.2f} s, the first at {arrivals[0]:.2f} s"
    )
    if interval is None:
        if groups > 1:
            return CheckResult("ok", "buffering", said)
        return CheckResult(
            "note", "buffering", f"{said}: buffered, or produced all at once", _ADVICE
        )
    if groups == 1:
        made = f"produced over {interval * (count - 1):.2f} s"
        return CheckResult(
            "fail", "buffering", f"{said}, though {made}: they are buffered", _ADVICE
        )
    if groups <= count // 2:
        return CheckResult("warn", "buffering", f"{said}: some are buffered", _ADVICE)
    return CheckResult("ok", "buffering", said)
