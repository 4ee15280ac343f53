"""A provider of language models on a real socket that notices when its client disconnects."""

import asyncio
import json
import time
from dataclasses import dataclass, field

from dual_mode_streaming.bridges import LoopThread


@dataclass
class Call:
    """One request; `closed` is when it ended or its client left, by `time.monotonic()`."""

    question: str
    messages: list[dict]
    sent: int = 0
    left: bool = False
    closed: float | None = None


@dataclass
class Provider:
    """An HTTP server with the wire format of Anthropic.

    The question selects the answer: "say N at R" gives N words at R words a second, "silent" gives
    nothing, "refuse" gives a 400, and "break" fails after some words.
    """

    calls: list[Call] = field(default_factory=list)
    thread: LoopThread = field(default_factory=lambda: LoopThread("provider"))

    def __enter__(self):
        async def start():
            return await asyncio.start_server(self._serve, "127.0.0.1", 0)

        self._server = self.thread.run(start())
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *exc_info):
        self._server.close()
        self.thread.close()

    @property
    def open(self):
        """The number of requests that are being answered."""
        return sum(call.closed is None for call in self.calls)

    async def _serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                body = json.loads(await reader.readexactly(size))
                await self._answer(body, reader, writer)
                if self.calls[-1].left:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, body, reader, writer):
        content = body["messages"][-1]["content"]
        question = content if isinstance(content, str) else content[-1]["text"]
        call = Call(question, body["messages"])
        self.calls.append(call)
        gone = asyncio.ensure_future(reader.read(1))
        saying = asyncio.ensure_future(self._say(call, writer))
        await asyncio.wait({gone, saying}, return_when=asyncio.FIRST_COMPLETED)
        call.left = gone.done()
        call.closed = time.monotonic()
        for task in (gone, saying):
            task.cancel()
        await asyncio.wait({gone, saying})

    async def _say(self, call, writer):
        def send(data):
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))

        def event(kind, **rest):
            send(f"event: {kind}\ndata: {json.dumps({'type': kind, **rest})}\n\n".encode())

        if call.question == "silent":
            await asyncio.sleep(3600)
        if call.question == "refuse":
            error = {"type": "invalid_request_error", "message": "refused on purpose"}
            text = json.dumps({"type": "error", "error": error}).encode()
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n")
            writer.write(b"content-length: %d\r\n\r\n%b" % (len(text), text))
            return
        words, rate = 5, 50.0
        if call.question.startswith("say"):
            _, count, _, pace = call.question.split()
            words, rate = int(count), float(pace)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
        message |= {"content": [], "stop_reason": None, "stop_sequence": None}
        message["usage"] = {"input_tokens": 1, "output_tokens": 1}
        event("message_start", message=message)
        event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        start = time.monotonic()
        for number in range(words):
            await asyncio.sleep(max(0, start + number / rate - time.monotonic()))
            delta = {"type": "text_delta", "text": f"word{number} "}
            event("content_block_delta", index=0, delta=delta)
            call.sent += 1
            await writer.drain()
        if call.question == "break":
            error = {"type": "overloaded_error", "message": "broken on purpose"}
            event("error", error=error)
        else:
            event("content_block_stop", index=0)
            delta = {"stop_reason": "end_turn", "stop_sequence": None}
            event("message_delta", delta=delta, usage={"output_tokens": words})
            event("message_stop")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
