"""A crowd of readers in a process of its own, which on a line of standard input vanish all at once.

python vanish.py PORT MANY: opens MANY streams and reads the first bytes of each; says `ready`;
after a line on stdin closes each with a reset and prints when, on the clock of `perf_counter`.
"""

import json
import socket
import struct
import sys
import time

port, many = int(sys.argv[1]), int(sys.argv[2])
request = b"GET / HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n"
readers = []
for _ in range(many):
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", port))
    reader.sendall(request)
    readers.append(reader)
for reader in readers:
    received = b""
    while b"data: " not in received:
        received += reader.recv(256)
print("ready", flush=True)
sys.stdin.readline()
moments = []
for reader in readers:
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reader.close()
    moments.append(time.perf_counter())
print(json.dumps(moments), flush=True)
