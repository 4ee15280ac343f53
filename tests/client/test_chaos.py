"""Every event once and in order: recordings behind a proxy that cuts connections anywhere."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import StreamingResponse

from dual_mode_streaming.client import Reconnect
from dual_mode_streaming.testing import serving
from tests.helpers.scripted import frame

pytestmark = pytest.mark.asyncio(loop_scope="package")

COUNT = 300
PATIENT = Reconnect(attempts=50, delay=0, max_wait=0.01, jitter=0)


def recordings() -> FastAPI:
    """Every stream is COUNT items, and each reader is given some of them a second time."""
    app = FastAPI()
    app.state.started = []

    @app.post("/answers")
    async def start(request: Request) -> StreamingResponse:
        app.state.started.append(await request.body())
        return replay(f"s{len(app.state.started)}", 0)

    @app.get("/streams/{id}")
    async def attach(id: str, last_event_id: str = Header("")) -> StreamingResponse:
        epoch, generation, sequence = last_event_id.split(".") if last_event_id else (id, "1", "0")
        if epoch != id or generation not in ("1", "2"):
            raise HTTPException(400, "a cursor of another stream")
        return replay(id, max(0, int(sequence) - 3))

    def replay(id: str, after: int) -> StreamingResponse:
        async def frames() -> AsyncIterator[bytes]:
            yield b"retry: 0\n"
            for n in range(after + 1, COUNT + 1):
                yield frame({"n": n}, id=f"{id}.{1 + (n > 70)}.{n}")
                if n % 10 == 0:
                    yield b": ping\n"
                    await asyncio.sleep(0)
            yield frame({"items": COUNT}, "done", f"{id}.2.{COUNT + 1}")

        headers = {"location": f"/streams/{id}"}
        return StreamingResponse(frames(), media_type="text/event-stream", headers=headers)

    return app


class Proxy:
    """Hands each answer on, up to a random byte of its body; then closes, or resets."""

    def __init__(self, upstream: str, chance: random.Random) -> None:
        self._port = int(upstream.rpartition(":")[2])
        self._chance = chance
        self.cuts = 0
        self.serving: set[Any] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.add(asyncio.current_task())
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            asked = await reader.readuntil(b"\r\n\r\n")
            asked = asked.replace(b"keep-alive", b"close")
            length = asked.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            back.write(asked + await reader.readexactly(int(length or 0)))
            writer.write(await there.readuntil(b"\r\n\r\n"))
            left = self._chance.randrange(2500)
            while left > 0 and (chunk := await there.read(min(left, 400))):
                writer.write(chunk)
                await writer.drain()
                left -= len(chunk)
            if left == 0:
                self.cuts += 1
                if self._chance.random() < 0.3:
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            back.close()
            writer.close()


@pytest_asyncio.fixture(loop_scope="package", scope="module")
async def upstream() -> AsyncIterator[tuple[str, Any]]:
    app = recordings()
    async with serving(app, log_level="critical") as url:
        yield url, app


@pytest.mark.parametrize("seed", range(4))
async def test_every_item_once_and_in_order(upstream, harness, seed):
    url, app = upstream
    proxy = Proxy(url, random.Random(seed))
    started = len(app.state.started)
    listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        stream = await harness.read(
            f"http://127.0.0.1:{port}/answers", method="POST", json={"n": 1}, reconnect=PATIENT
        )
    await asyncio.wait(proxy.serving, timeout=60)
    assert harness.data == [{"n": n} for n in range(1, COUNT + 1)]
    assert stream.outcome == "done"
    assert stream.reconnects + 1 >= proxy.cuts > 5  # the last may be behind the end
    assert stream.duplicates > 0
    assert len(app.state.started) == started + 1
