"""What a request needs is loaded before the first one: an import may hold the event loop, and
with it every reader, for 100 ms."""

import subprocess
import sys

# In a process of its own, where nothing has been used before.
LATE = """
import asyncio, sys
from fastapi import FastAPI
from dual_mode_streaming import dual_mode, install

app = FastAPI()
install(app)

@app.get("/")
@dual_mode
async def source(n: int):
    for number in range(n):
        yield number
    await asyncio.sleep(0 if n else 3600)

async def ask(query, accept):
    gone = asyncio.Event()
    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}
    async def send(message):
        pass
    scope = {
        "type": "http", "method": "GET", "path": "/", "query_string": query, "scheme": "http",
        "headers": [(b"accept", accept)], "server": ("x", 80), "client": ("y", 1), "state": {},
        "http_version": "1.1", "asgi": {"version": "3.0"}, "root_path": "",
    }
    answer = asyncio.create_task(app(scope, receive, send))
    for _ in range(5):
        await asyncio.sleep(0)
    gone.set()
    await answer

async def main():
    async with app.router.lifespan_context(app):
        before = set(sys.modules)
        await ask(b"n=1", b"application/json")
        await ask(b"n=1", b"application/jsonl")
        await ask(b"n=1", b"text/event-stream")
        await ask(b"n=0", b"text/event-stream")
        print(*sorted(set(sys.modules) - before))

asyncio.run(main())
"""


def test_no_answer_and_no_disconnect_loads_a_module():
    out = subprocess.run(
        [sys.executable, "-c", LATE], capture_output=True, text=True, timeout=60, check=True
    )
    assert (out.stdout.strip(), out.stderr) == ("", "")
