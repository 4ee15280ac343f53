"""Channels: named, durable streams with many writers, on the same stores as recordings."""

from dual_mode_streaming.channels._channel import Channel
from dual_mode_streaming.channels._log import ChannelClosed, ChannelMessage
from dual_mode_streaming.channels._subscription import Subscription
from dual_mode_streaming.channels._sync import SyncChannel, SyncWriter
from dual_mode_streaming.channels._writer import ChannelWriter

__all__ = [
    "Channel",
    "ChannelClosed",
    "ChannelMessage",
    "ChannelWriter",
    "Subscription",
    "SyncChannel",
    "SyncWriter",
]
