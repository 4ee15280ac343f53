"""Bridges between async streams and code that runs without an event loop."""

from dual_mode_streaming.bridges.from_sync import from_sync

__all__ = ["from_sync"]
