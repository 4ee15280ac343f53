"""Recorded streams: a producer writes to a store and outlives its readers; readers can resume."""

from dual_mode_streaming.recordings._entries import Cursor, Gap, StoredRecord, StreamRecord
from dual_mode_streaming.recordings._operation import Operation, RecordingRequest
from dual_mode_streaming.recordings._service import Recordings
from dual_mode_streaming.recordings._tail import StreamGone
from dual_mode_streaming.recordings._writer import LeasedWriter

__all__ = [
    "Cursor",
    "Gap",
    "LeasedWriter",
    "Operation",
    "RecordingRequest",
    "Recordings",
    "StoredRecord",
    "StreamGone",
    "StreamRecord",
]
