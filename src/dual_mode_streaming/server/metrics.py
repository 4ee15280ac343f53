"""What Prometheus is told: `GET /metrics`."""

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from dual_mode_streaming.llm import Spent

__all__ = ["Metrics"]

_UNKNOWN = frozenset({"not_found", "invalid_request", "authentication", "permission"})
"""With these outcomes a model's name may be anything a client made up, and is not kept."""


class Metrics:
    """The counters of one app."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "dual_mode_llm_calls",
            "Calls of language models that have ended, by how",
            ["provider", "model", "outcome"],
            registry=self._registry,
        )
        self._tokens = Counter(
            "dual_mode_llm_tokens",
            "Tokens read (input) and written (output), those of abandoned answers among them",
            ["provider", "model", "direction"],
            registry=self._registry,
        )

    def spent(self, spent: Spent) -> None:
        """Count one call of a model."""
        model = "" if spent.outcome in _UNKNOWN else spent.model
        self._calls.labels(spent.provider, model, spent.outcome).inc()
        for direction in ("input", "output"):
            tokens = getattr(spent.usage, f"{direction}_tokens")
            self._tokens.labels(spent.provider, model, direction).inc(tokens)

    def routes(self) -> APIRouter:
        """`GET /metrics`."""
        routes = APIRouter()

        @routes.get("/metrics", include_in_schema=False)
        def metrics() -> Response:
            return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

        return routes
