"""The Prometheus metrics of the service: `GET /metrics`."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, get_args

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from dual_mode_streaming.llm import FinishReason, Spent
from dual_mode_streaming.observability.prometheus import PrometheusObserver
from dual_mode_streaming.running._tasks import end_tasks

SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which several workers share their metrics. It has to be set
before prometheus_client is imported."""

_REFRESH: Final = 5.0  # seconds

_ANSWERED: Final = frozenset(get_args(FinishReason))
"""The outcomes of an answered call. With any other and without output, the name of the model may be
whatever the client sent, and is not used as a label."""


class Metrics:
    """The metrics of one app.

    `answers` is the observer to pass to `install`; `count_call`, the `on_end` of the LLM client.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.answers = PrometheusObserver(self._registry)
        self._calls = Counter(
            "dual_mode_llm_calls",
            "Calls of language models that have ended, by outcome",
            ["provider", "model", "outcome"],
            registry=self._registry,
        )
        self._tokens = Counter(
            "dual_mode_llm_tokens",
            "Tokens read (input) and written (output), also of abandoned answers",
            ["provider", "model", "direction"],
            registry=self._registry,
        )

    def count_call(self, spent: Spent) -> None:
        """Count one call of a language model."""
        answered = spent.outcome in _ANSWERED or spent.usage.output_tokens
        model = spent.model if answered else ""
        self._calls.labels(spent.provider, model, spent.outcome).inc()
        for direction in ("input", "output"):
            tokens = getattr(spent.usage, f"{direction}_tokens")
            self._tokens.labels(spent.provider, model, direction).inc(tokens)

    @contextlib.asynccontextmanager
    async def refreshing(self) -> AsyncIterator[None]:
        """Publish the queues of this worker regularly: a scrape reaches only one of the workers."""

        async def refresh() -> None:
            while True:
                self.answers.refresh()
                await asyncio.sleep(_REFRESH)

        task = asyncio.create_task(refresh()) if SHARED in os.environ else None
        try:
            yield
        finally:
            await end_tasks(task)

    def routes(self) -> APIRouter:
        """Return the route `GET /metrics`."""
        routes = APIRouter()

        @routes.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            self.answers.refresh()
            registry = self._registry
            if folder := os.environ.get(SHARED):
                _remove_dead_workers(Path(folder))
                registry = CollectorRegistry()
                MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

        return routes


def _remove_dead_workers(folder: Path) -> None:
    """Remove the gauges of workers that have died: their streams are closed."""
    for file in folder.glob("gauge_live*.db"):
        if found := re.search(r"_(\d+)\.db$", file.name):
            try:
                os.kill(int(found[1]), 0)
            except ProcessLookupError:
                file.unlink(missing_ok=True)
            except PermissionError:
                pass  # alive, but of another user
