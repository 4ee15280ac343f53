"""Tools for tests of streaming endpoints: a transport that really streams, a client that stalls and
aborts, a real server, a virtual clock, assertions on events, and the conformance tests of stores.

    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        async with client.stream("GET", "/events?stream=true") as response:
            async for event in read_events(response):
                ...
"""

try:
    import httpx as _  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        "dual_mode_streaming.testing needs: pip install 'dual-mode-streaming[client]'"
    ) from error

from dual_mode_streaming.testing._clients import RawClient
from dual_mode_streaming.testing._clock import VirtualClockLoop, run_with_virtual_clock
from dual_mode_streaming.testing._events import (
    assert_done,
    assert_error,
    collect_events,
    read_events,
)
from dual_mode_streaming.testing._server import serving
from dual_mode_streaming.testing._stores import StoreConformance
from dual_mode_streaming.testing._transport import StreamingTransport

__all__ = [
    "RawClient",
    "StoreConformance",
    "StreamingTransport",
    "VirtualClockLoop",
    "assert_done",
    "assert_error",
    "collect_events",
    "read_events",
    "run_with_virtual_clock",
    "serving",
]
