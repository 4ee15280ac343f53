"""Answers, queues and stores as Prometheus metrics."""

from collections.abc import Callable
from typing import Any, Final

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ModuleNotFoundError as error:
    raise ImportError("this needs: pip install 'dual-mode-streaming[metrics]'") from error
from starlette.types import Scope

from dual_mode_streaming.web.observing import Answer, Observer

__all__ = ["PrometheusObserver"]

_FIRST: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_GAPS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_CALLS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5)


class _Route:
    """The metrics of one route in one mode: looked up once, not for each answer."""

    __slots__ = ("events", "first", "gap", "open")

    def __init__(self, open_: Any, events: Any, first: Any, gap: Any) -> None:
        self.open = open_
        self.events = events
        self.first = first
        self.gap = gap


class PrometheusObserver(Observer):
    """`install(app, observers=[PrometheusObserver()])`; how they are scraped is the app's affair.

    The routes are those that the app declares, so that no client can make up a label. A gap is the
    time between two sends of one stream: what was ready together leaves together.

    Args:
        registry: where the metrics are registered; one observer a registry.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        labels = ["route", "mode"]
        self._open = Gauge(
            "dual_mode_streams_open",
            "Answers that are being made, batches among them",
            labels,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._events = Counter(
            "dual_mode_events_sent",
            "Items that have left as events or lines",
            labels,
            registry=registry,
        )
        self._first = Histogram(
            "dual_mode_first_event_seconds",
            "From the opening of a stream until its first items had been sent",
            labels,
            registry=registry,
            buckets=_FIRST,
        )
        self._gap = Histogram(
            "dual_mode_event_gap_seconds",
            "Between two sends of items of one stream",
            labels,
            registry=registry,
            buckets=_GAPS,
        )
        self._ends = Counter(
            "dual_mode_stream_ends",
            "Answers that have ended, by why",
            [*labels, "reason"],
            registry=registry,
        )
        self._refused = Counter(
            "dual_mode_streams_refused",
            "Requests that were not let in, by why",
            ["reason"],
            registry=registry,
        )
        self._store = Histogram(
            "dual_mode_store_seconds",
            "What a call of the store took",
            ["operation", "failed"],
            registry=registry,
            buckets=_CALLS,
        )
        self._depth = Gauge(
            "dual_mode_queue_depth",
            "Items that the slowest reader of a queue has yet to take",
            ["queue"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._dropped = Counter(
            "dual_mode_items_dropped",
            "Items that readers of a queue have missed for being slow",
            ["queue"],
            registry=registry,
        )
        self._queues: list[tuple[str, Callable[[], int], Callable[[], int]]] = []
        self._counted: dict[str, int] = {}
        self._routes: dict[tuple[str, str], _Route] = {}

    def watch_queue(self, name: str, depth: Callable[[], int], dropped: Callable[[], int]) -> None:
        """Tell of a queue: how many items wait in it, and how many it has dropped since ever."""
        self._queues.append((name, depth, dropped))

    def refresh(self) -> None:
        """Look at the queues; to be called before each scrape, and in each worker now and then."""
        for name, depth, dropped in self._queues:
            self._depth.labels(name).set(depth())
            total = dropped()
            self._dropped.labels(name).inc(total - self._counted.get(name, 0))
            self._counted[name] = total

    def opened(self, answer: Answer) -> None:
        """See `Observer`."""
        route = answer.context[self] = self._route(answer)
        route.open.inc()

    def sent(self, answer: Answer, items: int, gap: float) -> None:
        """See `Observer`."""
        route: _Route = answer.context[self]
        route.events.inc(items)
        if answer.items == items:
            route.first.observe(answer.first)
        else:
            route.gap.observe(gap)

    def ended(self, answer: Answer) -> None:
        """See `Observer`."""
        route: _Route = answer.context[self]
        route.open.dec()
        self._ends.labels(answer.route, answer.mode.name.lower(), answer.end).inc()

    def refused(self, scope: Scope, reason: str) -> None:
        """See `Observer`."""
        self._refused.labels(reason).inc()

    def stored(self, operation: str, seconds: float, failed: bool) -> None:
        """See `Observer`."""
        self._store.labels(operation, str(failed).lower()).observe(seconds)

    def _route(self, answer: Answer) -> _Route:
        key = answer.route, answer.mode.name.lower()
        route = self._routes.get(key)
        if route is None:
            metrics = (self._open, self._events, self._first, self._gap)
            route = self._routes[key] = _Route(*(metric.labels(*key) for metric in metrics))
        return route
