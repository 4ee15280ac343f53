"""Apps with middlewares and sessions of other libraries; prints what a client sees, as JSON."""

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import httpx
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import Depends, FastAPI, Request
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from slowapi import Limiter
from slowapi.middleware import SlowAPIMiddleware
from slowapi.util import get_remote_address
from sqlalchemy import String, create_engine, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import AsyncAdaptedQueuePool, SingletonThreadPool
from starlette_compress import CompressMiddleware

from dual_mode_streaming import EventDecoder, dual_mode, install
from dual_mode_streaming.testing import serving

MODES = {"batch": "application/json", "stream": "text/event-stream", "lines": "application/jsonl"}


class Left:
    """A stream that a client leaves after its first item."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.go_on = asyncio.Event()

    async def items(self) -> AsyncIterator[int]:
        try:
            yield 1
            await self.go_on.wait()
            yield 2
        finally:
            self.closed.set()


def new_app() -> tuple[FastAPI, Left]:
    app, left = FastAPI(), Left()
    add_endpoints(app, left)
    return app, left


def add_endpoints(app: FastAPI, left: Left) -> None:
    install(app)

    @app.get("/three")
    @dual_mode
    async def three() -> AsyncIterator[int]:
        for n in range(3):
            yield n
            await asyncio.sleep(0)

    @app.get("/recorded")
    @dual_mode(record=True)
    async def recorded() -> AsyncIterator[int]:
        for n in range(3):
            yield n
            await asyncio.sleep(0)

    @app.get("/left")
    @dual_mode
    def left_early() -> AsyncIterator[int]:
        return left.items()


def items_of(answer: httpx.Response, mode: str) -> object:
    if not answer.is_success:
        return answer.status_code
    if mode == "batch":
        return answer.json()["data"]
    if mode == "lines":
        return [json.loads(line) for line in answer.text.splitlines()]
    events = EventDecoder().feed(answer.content)
    return [json.loads(event.data) for event in events if event.event in (None, "message")]


async def in_each_mode(client: httpx.AsyncClient, path: str) -> dict[str, object]:
    return {
        mode: items_of(await client.get(path, headers={"Accept": accept}), mode)
        for mode, accept in MODES.items()
    }


async def leave(client: httpx.AsyncClient, left: Left, path: str = "/left") -> bool:
    """Leave a stream after its first bytes; return whether its generator was closed by that."""
    stream = client.stream("GET", path, headers={"Accept": "text/event-stream"})
    async with stream as answer, contextlib.aclosing(answer.aiter_bytes()) as body:
        await anext(body)
    async with asyncio.timeout(60):
        await left.closed.wait()
    return not left.go_on.is_set()


async def seen_by(app: FastAPI, left: Left) -> dict[str, object]:
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        return {
            "three": await in_each_mode(client, "/three"),
            "recorded": await in_each_mode(client, "/recorded"),
            "left": await leave(client, left),
        }


async def compressed() -> dict[str, object]:
    """starlette-compress: an event leaves before the next one is made."""
    app, left = new_app()
    app.add_middleware(CompressMiddleware, minimum_size=0)
    return await seen_by(app, left)


async def correlated() -> dict[str, object]:
    """asgi-correlation-id: the generator sees the id of its request, in every mode."""
    app, left = new_app()

    @app.get("/id")
    @dual_mode
    async def identity() -> AsyncIterator[str | None]:
        yield correlation_id.get()
        await asyncio.sleep(0)
        yield correlation_id.get()

    app.add_middleware(CorrelationIdMiddleware, validator=None)
    seen = await seen_by(app, left)
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        for mode, accept in MODES.items():
            headers = {"Accept": accept, "X-Request-ID": f"id-{mode}"}
            answer = await client.get("/id", headers=headers)
            seen[f"id {mode}"] = [*items_of(answer, mode), answer.headers["X-Request-ID"]]
    return seen


async def traced(*, before: bool) -> dict[str, object]:
    """OpenTelemetry's instrumentation: one server span an answer, ended with it."""
    app, left = FastAPI(), Left()
    if not before:
        add_endpoints(app, left)
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    if before:
        add_endpoints(app, left)
    seen = await seen_by(app, left)
    names = [span.name for span in exporter.get_finished_spans() if span.kind.name == "SERVER"]
    seen["spans"] = sorted(set(names))
    return seen


async def limited() -> dict[str, object]:
    """slowapi's middleware: a default limit for every route.

    Its other one, `SlowAPIASGIMiddleware`, sends the headers again with every piece of a body, so
    nothing that streams works with it: no StreamingResponse of Starlette's either.
    """
    app, left = new_app()
    app.state.limiter = Limiter(key_func=get_remote_address, default_limits=["7/minute"])
    app.add_middleware(SlowAPIMiddleware)
    seen = await seen_by(app, left)
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        seen["beyond"] = [(await client.get("/three")).status_code for _ in range(5)][-1]
    return seen


class Base(DeclarativeBase):
    pass


class Word(Base):
    __tablename__ = "words"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(20))


async def sessions(folder: str) -> dict[str, object]:
    """SQLAlchemy: sessions in generators, of dependencies, plain and async; all are given back."""
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{folder}/words.db", poolclass=AsyncAdaptedQueuePool
    )
    plain = create_engine(f"sqlite:///{folder}/words.db", poolclass=SingletonThreadPool)
    Base.metadata.create_all(plain)
    with Session(plain) as session:
        session.add_all(Word(text=text) for text in "abc")
        session.commit()
    make = async_sessionmaker(engine)
    app, left = new_app()

    async def of_request() -> AsyncIterator[AsyncSession]:
        async with make() as session:
            yield session

    @app.get("/inside")
    @dual_mode(record=True)
    async def inside() -> AsyncIterator[str]:
        async with make() as session:
            async for word in await session.stream_scalars(select(Word).order_by(Word.id)):
                yield word.text

    @app.get("/depends")
    @dual_mode
    async def depends(session: AsyncSession = Depends(of_request)) -> AsyncIterator[str]:
        async for word in await session.stream_scalars(select(Word).order_by(Word.id)):
            yield word.text

    @app.get("/given")
    @dual_mode
    async def given(session: AsyncSession = Depends(of_request)) -> AsyncIterator[str]:
        return await session.stream_scalars(select(Word.text).order_by(Word.id))

    @app.get("/plain")
    @dual_mode
    def in_a_thread() -> Iterator[str]:
        with Session(plain) as session:
            for word in session.scalars(select(Word).order_by(Word.id)).yield_per(1):
                assert threading.current_thread() is not threading.main_thread()
                yield word.text

    @app.get("/slow")
    @dual_mode
    async def slow(request: Request) -> AsyncIterator[int]:
        async with make() as session:
            await session.scalar(select(Word.id).limit(1))
            async with contextlib.aclosing(left.items()) as items:
                async for item in items:
                    yield item

    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        seen: dict[str, object] = {
            path: await in_each_mode(client, f"/{path}")
            for path in ("inside", "depends", "given", "plain")
        }
        seen["left"] = await leave(client, left, "/slow")
        async with asyncio.timeout(60):
            while engine.pool.checkedout():
                await asyncio.sleep(0.01)  # the pool tells nobody
    await engine.dispose()
    return seen


async def main(folder: str) -> None:
    print(
        json.dumps(
            {
                "starlette-compress": await compressed(),
                "asgi-correlation-id": await correlated(),
                "opentelemetry": await traced(before=False),
                "opentelemetry before": await traced(before=True),
                "slowapi": await limited(),
                "sqlalchemy": await sessions(folder),
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
