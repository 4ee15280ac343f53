"""A span for each response, from its start to the end of the stream, in the right trace."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, HTTPException
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.observability.opentelemetry import OpenTelemetryObserver
from tests.web.asgi import Client, get

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = [("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01")]


class Traced:
    """An app whose spans are collected."""

    def __init__(self) -> None:
        self.kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.kept))
        self.tracer = provider.get_tracer("test")
        self.app = FastAPI()
        install(self.app, observers=[OpenTelemetryObserver(self.tracer)])

        @self.app.get("/numbers/{upto}")
        @dual_mode
        async def numbers(upto: int) -> AsyncIterator[int]:
            if upto == 0:
                raise HTTPException(404)
            for number in range(upto):
                yield number
                await asyncio.sleep(0)
            if upto > 5:
                await asyncio.Event().wait()
            if upto > 4:
                raise RuntimeError("no")

    def only(self):
        (span,) = self.kept.get_finished_spans()
        return span


@pytest.fixture
def traced() -> Traced:
    return Traced()


async def test_the_span_is_in_the_trace_of_its_request(traced):
    await get(traced.app, "/numbers/3", headers=PARENT)
    span = traced.only()
    assert span.name == "GET /numbers/{upto} stream"
    assert span.kind is SpanKind.SERVER
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["dual_mode.end"] == "done"
    assert span.attributes["dual_mode.items"] == 3
    assert [event.name for event in span.events] == ["first items"]
    assert span.status.status_code is StatusCode.UNSET


async def test_a_current_span_is_the_parent(traced):
    with traced.tracer.start_as_current_span("request") as request:
        await get(traced.app, "/numbers/3", headers=PARENT)
    span = traced.kept.get_finished_spans()[0]
    assert span.parent.span_id == request.get_span_context().span_id
    assert span.kind is SpanKind.INTERNAL


async def test_the_span_lasts_as_long_as_the_stream(traced):
    client = Client(traced.app, "/numbers/6")
    async with client.running():
        await client.until(b"data: 5\n")
        assert not traced.kept.get_finished_spans()
        client.leave()
    assert traced.only().attributes["dual_mode.end"] == "disconnected"
    assert traced.only().status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(("path", "status"), [("/numbers/5", 200), ("/numbers/0", 404)])
async def test_a_server_error_marks_the_span_and_a_client_error_does_not(traced, path, status):
    await get(traced.app, path)
    span = traced.only()
    assert span.attributes["dual_mode.end"] == ("failed" if status == 200 else "refused")
    assert span.attributes["http.response.status_code"] == status
    assert (span.status.status_code is StatusCode.ERROR) == (status == 200)
