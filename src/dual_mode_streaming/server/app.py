"""The service as a FastAPI app: all its routes, and what they share."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Annotated, Final

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from dual_mode_streaming import dual_mode, first, install
from dual_mode_streaming.llm import LLMClient, llm_routes, provider_by_settings
from dual_mode_streaming.server._logs import REQUEST_ID
from dual_mode_streaming.server._metrics import Metrics
from dual_mode_streaming.server._middleware import (
    BodyLimit,
    HeadAsGet,
    allow_origins,
    method_not_allowed,
    validation_error,
)
from dual_mode_streaming.server.routes._chat import chat_routes
from dual_mode_streaming.server.routes._docs import describe_keys, docs_routes, scalar_script
from dual_mode_streaming.server.routes._feed import Sample, host_feed
from dual_mode_streaming.server.routes._frontends import frontend_routes
from dual_mode_streaming.server.routes._journal import journal_routes
from dual_mode_streaming.server.routes._page import page_routes
from dual_mode_streaming.server.routes._slow import slow_routes
from dual_mode_streaming.server.routes._tokens import token_routes
from dual_mode_streaming.server.settings import Settings, load
from dual_mode_streaming.web._app_state import app_state
from dual_mode_streaming.web._wire_refusals import in_wire_format

__all__ = ["Health", "Item", "create_app"]


_CLOSING: Final = 1.0
"""The part of `drain_timeout`, in seconds, in which answers that did not complete are closed."""


class Item(BaseModel):
    """An item of `/data`."""

    index: int
    message: str


class Health(BaseModel):
    """The state of the service: `ok` or `draining`."""

    status: str


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service as an app.

    Args:
        settings: the settings; None for those of the environment.

    Raises:
        SettingsError: a setting of the environment is wrong.
        ValueError: the provider of the language models cannot be used.
    """
    settings = settings or load()
    metrics = Metrics()
    provider = provider_by_settings(settings.llm)
    client = LLMClient(provider, on_end=metrics.count_call)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        _collect_garbage_seldom()
        async with contextlib.aclosing(client), metrics.refreshing():
            yield

    app = FastAPI(
        title="dual-mode-streaming",
        summary="One async generator, answered as batch JSON or as Server-Sent Events.",
        lifespan=lifespan,
        docs_url="/docs" if (scalar := scalar_script()) is None else None,
        redoc_url=None,
        redirect_slashes=False,  # it would lead to whatever the Host header says
    )
    signer = settings.tokens()
    admission = settings.admission()

    def owner(request: Request) -> str:
        subject = signer.subject_of(request)
        return admission.owner(request) if subject is None else subject

    app.add_middleware(BodyLimit, limit=settings.body_limit)
    app.add_middleware(HeadAsGet)
    app.add_exception_handler(RequestValidationError, in_wire_format(validation_error))
    app.add_exception_handler(405, method_not_allowed)
    app.add_middleware(
        CorrelationIdMiddleware,
        validator=lambda name: REQUEST_ID.fullmatch(name) is not None,
    )
    if settings.api_keys:
        describe_keys(app)
    install(
        app,
        store=settings.store,
        limits=settings.store_limits(),
        owner=owner,
        observers=[metrics.answers],
        admission=admission,
        drain_delay=settings.drain_delay,
        drain_timeout=max(0.0, settings.drain_timeout - _CLOSING),
        body_values=settings.body_values,
        channels=True,
        **settings.response_options(),
    )
    if settings.cors_origins:
        allow_origins(app, settings.cors_origins)
    feed = host_feed()
    metrics.answers.watch_queue("events", lambda: feed.depth, lambda: feed.dropped)

    @app.get("/data", summary="Count, item by item")
    @dual_mode
    async def data(
        count: Annotated[int, Query(ge=0, le=10**9, description="The number of items.")] = 10,
        interval: Annotated[
            float,
            Query(
                ge=0, le=3600, description="The pause before each item but the first, in seconds."
            ),
        ] = 0.1,
    ) -> AsyncIterator[Item]:
        for index in range(count):
            if interval and index:
                await asyncio.sleep(interval)
            yield Item(index=index, message=f"Item {index + 1} of {count}")

    async def newest(samples: AsyncIterator[Sample]) -> Sample:
        sample = await first(samples)
        assert sample is not None  # the feed ends only with the app
        return sample

    @app.get("/events", summary="The load of this host, live")
    @dual_mode(fold=newest, feed=True, retry=1000)
    async def events() -> AsyncIterator[Sample]:
        async with feed.subscribe() as samples:
            async for sample in samples:
                yield sample

    app.include_router(slow_routes())
    app.include_router(chat_routes(client, admission))
    app.include_router(frontend_routes(client, admission))
    limits = {"body_limit": settings.llm.body_limit, "body_values": settings.llm.body_values}
    app.include_router(llm_routes(client, admission=admission, **limits))
    if settings.llm.journal:
        app.include_router(journal_routes(provider, admission))

    app.include_router(token_routes(admission, owner, signer))
    app.include_router(metrics.routes())
    app.include_router(page_routes())
    if scalar is not None:
        app.include_router(docs_routes(scalar))

    @app.get("/healthz", summary="Whether the process is alive")
    async def healthz() -> Health:
        return Health(status="ok")

    @app.get("/readyz", summary="Whether new requests are accepted")
    async def readyz(response: Response) -> Health:
        if app_state(app).leaving:
            response.status_code = 503
            return Health(status="draining")
        return Health(status="ok")

    return app


def _collect_garbage_seldom() -> None:
    """Let the garbage collector interrupt the open streams less often.

    It need not look at what is loaded now. An open stream is some 300 objects that live for long
    and are freed without the collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)
