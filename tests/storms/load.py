"""Thousands of readers in a process of their own, which do what a line of standard input says.

python load.py PORT PATH MANY [RECEIVE_BUFFER]: opens MANY streams, reads the first event of each,
and answers with how many there are. Then a line in, a line of JSON out:

- `vanish`: close all with a reset (RST) at once. Out: when each was closed.
- `read`: read all there is until the server closes. Out: how many ended whole (the last chunk had
  come), how many told that the server shuts down, and when the last ended.
- `watch`: read nothing, wait until the server has reset all. Out: how many it did, and when the
  first and the last.
- `consume`: from now on read, and throw away what comes, until the next line. Out: at once.

Moments are on the clock of `perf_counter`, which all processes of a machine share.
"""

import json
import select
import selectors
import socket
import struct
import sys
import time
from typing import Any

AT_ONCE = 100
"""So many come together, and the next when they are served: else all stand in one queue, and how
long it is says more of the load than of the server."""

A_HOST_HAS = 20_000
"""So many connections leave one address; beyond, the next of 127.0.0.x is taken."""

RESET = struct.pack("ii", 1, 0)


def opened(port: int, path: str, many: int, buffer: int | None) -> list[socket.socket]:
    """Readers that have the first event each; fewer than asked for if there are no more files."""
    request = f"GET {path} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n".encode()
    readers: list[socket.socket] = []
    for number in range(many):
        try:
            reader = socket.socket()
        except OSError:  # no more files
            break
        reader.settimeout(60)
        if buffer is not None:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        if host := number // A_HOST_HAS:
            reader.bind((f"127.0.0.{1 + host}", 0))
        reader.connect(("127.0.0.1", port))
        reader.sendall(request)
        readers.append(reader)
        if len(readers) % AT_ONCE == 0:
            await_first(readers[-AT_ONCE:])
    await_first(readers[len(readers) // AT_ONCE * AT_ONCE :])
    return readers


def await_first(readers: list[socket.socket]) -> None:
    """Wait until each has its first event."""
    for reader in readers:
        received = b""
        while b"data: " not in received:
            chunk = reader.recv(256)
            if not chunk:
                raise SystemExit(f"no stream, but {received!r}")
            received += chunk
        reader.setblocking(False)


def vanish(readers: list[socket.socket]) -> dict[str, Any]:
    """Reset all."""
    for reader in readers:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    moments = []
    for reader in readers:
        reader.close()
        moments.append(time.perf_counter())
    readers.clear()
    return {"moments": moments}


def read(readers: list[socket.socket]) -> dict[str, Any]:
    """Read each to its end."""
    ends: dict[socket.socket, bytes] = {}
    whole = told = 0
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                reader: Any = key.fileobj
                try:
                    chunk = reader.recv(65536)
                except ConnectionResetError:
                    chunk = b""
                ends[reader] = (ends.get(reader, b"") + chunk)[-1000:]
                if not chunk:
                    selector.unregister(reader)
                    reader.close()
                    whole += ends[reader].endswith(b"\r\n0\r\n\r\n")
                    told += b'"status":503' in ends[reader]
    readers.clear()
    return {"whole": whole, "told": told, "at": time.perf_counter()}


def watch(readers: list[socket.socket]) -> dict[str, Any]:
    """Wait for the resets."""
    poll = select.epoll()
    by_number = {reader.fileno(): reader for reader in readers}
    for number in by_number:
        poll.register(number, 0)  # errors alone
    moments = []
    while by_number:
        for number, _ in poll.poll():
            poll.unregister(number)
            by_number.pop(number).close()
            moments.append(time.perf_counter())
    poll.close()
    readers.clear()
    return {"reset": len(moments), "first": moments[0], "last": moments[-1]}


def consume(readers: list[socket.socket]) -> None:
    """Read and throw away, until there is a line."""
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        for reader in readers:
            selector.register(reader, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
                key.fileobj.recv(65536)  # type: ignore[union-attr]


def main(port: str, path: str, many: str, buffer: str | None = None) -> None:
    """Open, then obey."""
    readers = opened(int(port), path, int(many), None if buffer is None else int(buffer))
    print(json.dumps({"open": len(readers)}), flush=True)
    commands = {"vanish": vanish, "read": read, "watch": watch}
    while line := sys.stdin.readline().strip():
        if line == "consume":
            print("{}", flush=True)
            consume(readers)
        else:
            print(json.dumps(commands[line](readers)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
