"""Streams that outlive their connection: producers that run on, readers that come and go."""

from dual_mode_streaming.recordings._entries import Cursor, Lost, Record, Recorded
from dual_mode_streaming.recordings._service import Operation, Recordings, Start
from dual_mode_streaming.recordings._tail import Gone

__all__ = ["Cursor", "Gone", "Lost", "Operation", "Record", "Recorded", "Recordings", "Start"]
