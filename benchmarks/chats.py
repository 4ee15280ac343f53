"""The CPU time of one chunk of a chat, and the number of chats that one worker can serve.

    python benchmarks/chats.py [--chats 500] [--seconds 8] [--ramp] [--chunks-only] [--json FILE]

The simulator produces 20 tokens a second. The service runs in a process of its own, on one core,
and the load comes from another core if there are several. The lateness of a chunk is the time from
when it was due to its arrival; the times are counted from the earliest chunk of the same answer.
`--ramp` adds chats until the 99th percentile of the lateness is above 50 ms.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import openai
import uvloop
from fastapi import FastAPI

from dual_mode_streaming.llm import LLMClient, Reply, Script, Simulator, llm_routes
from dual_mode_streaming.llm.providers import OpenAIProvider

RATE = 20
LATE = 0.05
WORDS = 80
CHUNKS = 20_000
BODY = json.dumps(
    {
        "model": "simulator",
        "stream": True,
        "max_tokens": 100_000,
        "messages": [{"role": "user", "content": "?"}],
    }
).encode()


async def cost_of_an_answer(app: FastAPI, path: str, sent: list[bytes]) -> float:
    """Run an app for one answer, without a socket; return the CPU seconds of a chunk."""
    messages = [{"type": "http.request", "body": BODY}]
    forever = asyncio.Event()

    async def receive() -> dict:
        if messages:
            return messages.pop()
        await forever.wait()
        raise AssertionError

    async def send(message: dict) -> None:
        sent.append(message.get("body", b""))

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": path, "raw_path": b"", "root_path": "",
        "query_string": b"", "headers": [(b"content-type", b"application/json")],
        "server": ("x", 80), "client": ("y", 1),
    }  # fmt: skip
    gc.collect()  # or the garbage of what came before is counted here
    start = time.process_time()
    await app(scope, receive, send)
    return (time.process_time() - start) / CHUNKS


async def costs_of_a_chunk() -> tuple[float, float, float, float]:
    """Measure the CPU seconds of one chunk in this process, without a socket.

    They are those to make it, the work of the simulator included; to decode it with openai-python;
    to forward it from a provider of the same API; and to translate it from a provider of another.
    """
    text = " ".join(f"word{number % 10}" for number in range(CHUNKS))
    app = FastAPI()
    client = LLMClient(Simulator(script=Script(reply=(Reply(text=text),))))
    app.include_router(llm_routes(client))
    sent: list[bytes] = []
    await cost_of_an_answer(app, "/v1/chat/completions", [])
    ours = await cost_of_an_answer(app, "/v1/chat/completions", sent)
    answer = b"".join(sent)
    pieces = [answer[at : at + 1000] for at in range(0, len(answer), 1000)]

    class Pieces(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

    def replay(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Pieces())

    def http() -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(replay))

    sdk = openai.AsyncOpenAI(api_key="k", base_url="http://x/v1", http_client=http())
    start = time.process_time()
    stream = await sdk.chat.completions.create(model="m", messages=[], stream=True)
    count = 0
    async for _ in stream:
        count += 1
    decoded = (time.process_time() - start) / count

    provider = OpenAIProvider("k", base_url="http://x/v1")
    provider._sdk._client = http()
    front = FastAPI()
    front.include_router(llm_routes(LLMClient(provider)))
    costs = []
    for path in ("/v1/chat/completions", "/v1/messages"):
        await cost_of_an_answer(front, path, [])
        costs.append(await cost_of_an_answer(front, path, []))
    return ours, decoded, *costs


async def one_chat(port: int, since: float, until: float, late: list[float]) -> None:
    """Send requests until `until`; append the lateness of chunks after `since` to `late`."""
    loop = asyncio.get_running_loop()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = False
    while not sent or loop.time() < until:
        sent = True
        await asyncio.sleep(random.random() / RATE)  # or late answers would synchronise
        writer.write(head.encode() + BODY)
        arrivals: list[float] = []
        tail = b""
        while b"[DONE]" not in tail:
            data = await reader.read(65536)
            if not data:
                raise RuntimeError("the server closed the connection")
            now = loop.time()
            arrivals += [now] * data.count(b'"content":" ')
            tail = tail[-16:] + data
        due = [arrival - number / RATE for number, arrival in enumerate(arrivals)]
        pairs = zip(due, arrivals, strict=True)
        late += [one - min(due) for one, arrival in pairs if since <= arrival < until]
    writer.close()


async def load(port: int, chats: int, seconds: float) -> list[float]:
    """Return the lateness of chunks in seconds, measured once all chats have started.

    One chat warms the server up. The others start evenly within the time of one answer.
    """
    late: list[float] = []
    now = asyncio.get_running_loop().time
    await one_chat(port, 0, now(), [])
    since = now() + WORDS / RATE
    async with asyncio.TaskGroup() as running:
        for _ in range(chats):
            running.create_task(one_chat(port, since, since + seconds, late))
            await asyncio.sleep(WORDS / RATE / chats)
    return late


def cpu_seconds(process: subprocess.Popen) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(chats: int, seconds: float, cores: list[int]) -> dict:
    """Measure one run with a server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.toml"
        script.write_text(f'[[reply]]\ntext = "{"word" + " word" * (WORDS - 1)}"\n')
        environment = {
            **os.environ,
            "DUAL_MODE_LLM_FIRST": "0",
            "DUAL_MODE_LLM_RATE": str(RATE),
            "DUAL_MODE_LLM_JITTER": "0",
            "DUAL_MODE_LLM_SCRIPT": str(script),
            "DUAL_MODE_LOG_LEVEL": "warning",
        }
        command = [str(Path(sys.executable).parent / "dual-mode"), "serve", "--port", "0"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rsplit(":", 1)[1])
            os.sched_setaffinity(process.pid, {cores[0]})
            os.sched_setaffinity(0, {cores[-1]})
            own, server, start = time.process_time(), cpu_seconds(process), time.monotonic()
            late = sorted(uvloop.run(load(port, chats, seconds)))
            took = time.monotonic() - start
            return {
                "chats": chats,
                "chunks a second": round(len(late) / seconds),
                "late p50 ms": round(statistics.median(late) * 1000, 1),
                "late p99 ms": round(late[int(len(late) * 0.99)] * 1000, 1),
                "server CPU %": round((cpu_seconds(process) - server) / took * 100),
                "client CPU %": round((time.process_time() - own) / took * 100),
            }
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            os.sched_setaffinity(0, set(cores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chats", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument(
        "--ramp", action="store_true", help="add chats until the lateness is above 50 ms"
    )
    parser.add_argument("--chunks-only", action="store_true", help="measure no chats")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    ours, sdk, forwarded, translated = asyncio.run(costs_of_a_chunk())
    print(
        f"a chunk: {ours * 1e6:.1f} µs here, {sdk * 1e6:.0f} µs in openai-python"
        f" (goal: at most a tenth; {ours / sdk:.3f}); {forwarded * 1e6:.1f} µs forwarded,"
        f" {translated * 1e6:.1f} µs translated (goal: the former is less)"
    )
    if options.chunks_only:
        return
    cores = sorted(os.sched_getaffinity(0))
    runs, chats = [], options.chats
    while True:
        runs.append(measured(chats, options.seconds, cores))
        print(", ".join(f"{name} {value}" for name, value in runs[-1].items()), flush=True)
        if not options.ramp or runs[-1]["late p99 ms"] > LATE * 1000:
            break
        chats += options.chats // 2
    if options.json:
        figures = {"chunk": ours, "openai-python": sdk, "runs": runs}
        figures |= {"forwarded": forwarded, "translated": translated}
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
