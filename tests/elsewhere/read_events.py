"""Reads lists of events with httpx-sse and launchdarkly-eventsource; see test_event_readers.py."""

import json
import sys

import httpx
from httpx_sse import connect_sse
from ld_eventsource import SSEClient
from ld_eventsource.config import ConnectStrategy, ErrorStrategy
from ld_eventsource.config.connect_strategy import ConnectionClient, ConnectionResult


def pieces(wire):
    raw = wire.encode()
    return [raw[n : n + 7] for n in range(0, len(raw), 7)]


def by_httpx_sse(wire):
    headers = {"content-type": "text/event-stream"}
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers=headers, content=wire.encode())
    )
    with (
        httpx.Client(transport=transport) as http,
        connect_sse(http, "GET", "http://host/") as source,
    ):
        return [
            (e.data, None if e.event == "message" else e.event, e.id) for e in source.iter_sse()
        ]


class Given(ConnectStrategy, ConnectionClient):
    def __init__(self, wire):
        self.wire = wire

    def create_client(self, logger):
        return self

    def connect(self, last_event_id):
        return ConnectionResult(iter(pieces(self.wire)), None)


def by_launchdarkly(wire):
    events = []
    client = SSEClient(
        Given(wire + "event: the-end\ndata: x\n\n"), error_strategy=ErrorStrategy.always_fail()
    )
    for event in client.events:
        if event.event == "the-end":
            break
        name = None if event.event == "message" else event.event
        events.append((event.data, name, event.last_event_id or ""))
    client.close()
    return events


readers = {"httpx-sse": by_httpx_sse, "launchdarkly-eventsource": by_launchdarkly}
lists = [each["wire"] for each in json.load(sys.stdin)]
print(json.dumps({name: [read(wire) for wire in lists] for name, read in readers.items()}))
