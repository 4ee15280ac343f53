"""What a type checker must see of the public names; mypy reads this, nothing runs it."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, assert_type

import httpx
from fastapi import FastAPI

from dual_mode_streaming import (
    Answer,
    DualModeResponse,
    EventDecoder,
    Grant,
    Observer,
    ResponseMode,
    ServerSentEvent,
    TokenSigner,
    detect_mode,
    drain,
    dual_mode,
    first,
    install,
)
from dual_mode_streaming.bridges import from_sync
from dual_mode_streaming.client import (
    AsyncDualModeClient,
    AsyncEventStream,
    DualModeClient,
    Event,
    EventStream,
)
from dual_mode_streaming.testing import StreamingTransport, assert_done, collect_events, read_events

app = FastAPI()
assert_type(install(app, heartbeat=3, retry=100), None)
install(app, heartbeats=3)  # type: ignore[call-arg]


async def total(items: AsyncIterator[int]) -> dict[str, int]:
    return {"sum": sum([item async for item in items])}


@app.get("/bare")
@dual_mode
async def bare(count: int = 3) -> AsyncIterator[int]:
    yield count


@app.get("/configured")
@dual_mode(fold=total, heartbeat=None, stream_flag="live", feed=True)
async def configured() -> AsyncIterator[int]:
    yield 1


assert_type(bare.generator(3), AsyncIterator[int])
dual_mode(grace="soon")  # type: ignore[call-overload]

assert_type(detect_mode("text/event-stream"), ResponseMode)
assert_type(detect_mode(["a/b"], stream=None).media_type, str)
assert_type(ServerSentEvent("data", id="1").encode(), bytes)
assert_type(EventDecoder().feed(b""), list[ServerSentEvent])
assert_type(EventDecoder().last_event_id, str | None)
assert_type(from_sync([1, 2]), from_sync[int])


class Ends(Observer):
    def ended(self, answer: Answer) -> None:
        assert_type((answer.end, answer.items, answer.first), tuple[str, int, float | None])


install(app, observers=[Ends()])
install(app, observers=[Ends])  # type: ignore[list-item]
assert_type(TokenSigner("a secret of 25 characters").read("token", "/path"), Grant)


async def uses(items: AsyncIterator[int], response: httpx.Response) -> None:
    DualModeResponse(items, mode=ResponseMode.STREAM, send_timeout=3)
    DualModeResponse([1, 2])  # type: ignore[arg-type]
    assert_type(await first(items), int | None)
    assert_type(await drain(app), None)
    httpx.AsyncClient(transport=StreamingTransport(app))
    assert_type(read_events(response), AsyncGenerator[ServerSentEvent, None])
    assert_type(assert_done(await collect_events(response, limit=3)), list[Any])
    async for item in from_sync("text"):
        assert_type(item, str)


def reads(client: DualModeClient, other: AsyncDualModeClient) -> None:
    assert_type(client.stream("/"), EventStream[str])
    assert_type(client.stream("/", int, method="POST", json=[1]), EventStream[int])
    assert_type(client.stream("/", model=int | str), EventStream[Any])
    assert_type(other.stream("/", model=dict[str, int]), AsyncEventStream[dict[str, int]])
    client.stream("/", methud="POST")  # type: ignore[call-overload]
    assert_type(client.get("/"), Any)
    assert_type(client.post("/", int, json={}), int)
    for event in client.stream("/", model=bytes):
        assert_type(event, Event[bytes])
    with DualModeClient("http://x", http_client=None) as same:
        assert_type(same, DualModeClient)


async def reads_async(client: AsyncDualModeClient) -> None:
    assert_type(await client.get("/", model=int), int)
    async with client.stream("/") as events:
        async for event in events:
            assert_type(event.data, str)
