"""Bridges between async streams and code that runs without an event loop, both ways."""

from dual_mode_streaming.bridges._from_sync import from_sync
from dual_mode_streaming.bridges._loop_thread import LoopThread, shared_loop
from dual_mode_streaming.bridges._own_thread import limit_threads
from dual_mode_streaming.bridges._to_sync import collect_sync, iterate_sync

__all__ = [
    "LoopThread",
    "collect_sync",
    "from_sync",
    "iterate_sync",
    "limit_threads",
    "shared_loop",
]
