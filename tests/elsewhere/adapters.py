"""Apps behind adapters of other libraries; prints what a client sees, as JSON."""

import asyncio
import base64
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import httpx
from a2wsgi import ASGIMiddleware, WSGIMiddleware
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.wsgi import WsgiToAsgi
from fastapi import FastAPI, Request
from mangum import Mangum

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.web.wsgi import HEADERS, event_stream

MODES = {"batch": "application/json", "stream": "text/event-stream", "lines": "application/jsonl"}


def app_of() -> FastAPI:
    app = FastAPI()
    install(app)

    @app.get("/three")
    @dual_mode
    async def three() -> AsyncIterator[int]:
        for n in range(3):
            yield n
            await asyncio.sleep(0.001)

    @app.get("/plain")
    @dual_mode
    def plain() -> Iterator[int]:
        yield from range(3)

    @app.get("/recorded")
    @dual_mode(record=True)
    async def recorded() -> AsyncIterator[int]:
        for n in range(3):
            yield n
            await asyncio.sleep(0.001)

    @app.post("/body")
    @dual_mode
    async def body(request: Request) -> AsyncIterator[str]:
        await asyncio.sleep(0.001)
        yield (await request.body()).decode()

    @app.get("/threads")
    @dual_mode
    async def threads() -> AsyncIterator[bool]:
        """Code that blocks, and code that awaits in it, in the middle of a stream."""
        here = threading.get_ident()
        yield await sync_to_async(threading.get_ident)() != here
        yield await sync_to_async(async_to_sync(in_the_loop))(here)

    async def in_the_loop(here: int) -> bool:
        return threading.get_ident() == here

    return app


def words(environ: dict, start_response) -> Iterator[bytes]:
    """A WSGI app that streams, as in docs/elsewhere.md."""

    async def items() -> AsyncIterator[str]:
        for word in environ["QUERY_STRING"].split(","):
            yield word
            await asyncio.sleep(0.001)

    start_response("200 OK", list(HEADERS.items()))
    return event_stream(items())


def items_of(text: str, mode: str) -> object:
    if mode == "batch":
        return json.loads(text)["data"]
    if mode == "lines":
        return [json.loads(line) for line in text.splitlines()]
    data = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(each) for each in data][:-1] if "event: done" in text else text


def by_mangum() -> dict[str, object]:
    """The events of AWS Lambda's function URLs, one after the other in one process."""
    handler = Mangum(app_of())
    seen: dict[str, object] = {}
    for path in "three", "plain", "recorded", "body", "threads":
        for mode, accept in MODES.items():
            event = {
                "version": "2.0",
                "routeKey": "$default",
                "rawPath": f"/{path}",
                "rawQueryString": "",
                "headers": {"accept": accept, "host": "x"},
                "requestContext": {
                    "http": {
                        "method": "POST" if path == "body" else "GET",
                        "path": f"/{path}",
                        "sourceIp": "127.0.0.1",
                    }
                },
                "body": "hello" if path == "body" else None,
                "isBase64Encoded": False,
            }
            answer = handler(event, object())
            text = answer["body"]
            if answer["isBase64Encoded"]:
                text = base64.b64decode(text).decode()
            seen[f"{path} {mode}"] = items_of(text, mode)
    return seen


def by_a2wsgi() -> dict[str, object]:
    """An app of ours as a WSGI app."""
    seen: dict[str, object] = {}
    transport = httpx.WSGITransport(app=ASGIMiddleware(app_of()))
    with httpx.Client(transport=transport, base_url="http://x") as http:
        for path in "three", "plain", "body", "threads":
            for mode, accept in MODES.items():
                method, content = ("POST", b"hello") if path == "body" else ("GET", None)
                answer = http.request(
                    method, f"/{path}", headers={"accept": accept}, content=content
                )
                seen[f"{path} {mode}"] = items_of(answer.text, mode)
    return seen


async def mounted() -> dict[str, object]:
    """A WSGI app of ours in an ASGI app, by two adapters, beside endpoints of ours."""
    app = app_of()
    app.mount("/a2wsgi", WSGIMiddleware(words))
    app.mount("/asgiref", WsgiToAsgi(words))
    seen: dict[str, object] = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        for name in "a2wsgi", "asgiref":
            answer = await http.get(f"/{name}/?to,be")
            seen[name] = items_of(answer.text, "stream")
    return seen


def main() -> None:
    kinds = {"mangum": by_mangum, "a2wsgi": by_a2wsgi, "mounted": lambda: asyncio.run(mounted())}
    json.dump({name: kind() for name, kind in kinds.items()}, sys.stdout)


main()
