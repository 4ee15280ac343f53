"""Answers, queues and stores as Prometheus metrics."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Gauge, Histogram, Metric
    from prometheus_client import Counter as PrometheusCounter
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise ImportError("this needs: pip install 'dual-mode-streaming[metrics]'") from error
from starlette.types import Scope

from dual_mode_streaming.web._observing import Answer, Observer

__all__ = ["PrometheusObserver"]

_FIRST: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_GAPS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_CALLS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5)


class _Spread:
    """Times, counted by bucket in plain numbers: a histogram's own `observe` costs ten times that,
    and would be called for each send of each stream."""

    __slots__ = ("_bounds", "_counts", "_pushed", "_sum", "_sum_pushed")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._pushed = [0] * (len(bounds) + 1)
        self._sum = self._sum_pushed = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def push(self, histogram: Any) -> None:
        """Add what is new. The names are private: there is no public way to add many at once."""
        for number, bucket in enumerate(histogram._buckets):
            total = self._counts[number]
            bucket.inc(total - self._pushed[number])
            self._pushed[number] = total
        total_sum = self._sum
        histogram._sum.inc(total_sum - self._sum_pushed)
        self._sum_pushed = total_sum


class _Route:
    """What is known of one route in one mode."""

    __slots__ = ("ends", "events", "first", "gap", "labels", "open")

    def __init__(self, *labels: str) -> None:
        self.labels = labels
        self.open = 0
        self.events = 0
        self.ends: Counter[str] = Counter()
        self.first = _Spread(_FIRST)
        self.gap = _Spread(_GAPS)


class PrometheusObserver(Observer):
    """`install(app, observers=[PrometheusObserver()])`; how they are scraped is the app's affair.

    The routes are those that the app declares, so that no client can make up a label. A gap is the
    time between two sends of one stream: what was ready together leaves together.

    Figures are gathered in plain numbers and handed on at each scrape of the registry. With several
    workers (prometheus_client's multiprocess mode) no registry of theirs is scraped: there, call
    `refresh` every few seconds.

    Args:
        registry: where the metrics are registered; one observer a registry.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        registry.register(_Refresh(self))  # the first, so that it is collected before the others
        labels = ["route", "mode"]
        self._open = Gauge(
            "dual_mode_streams_open",
            "Answers that are being made, batches among them",
            labels,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._events = PrometheusCounter(
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
        self._ends = PrometheusCounter(
            "dual_mode_stream_ends",
            "Answers that have ended, by why",
            [*labels, "reason"],
            registry=registry,
        )
        self._refused = PrometheusCounter(
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
        self._dropped = PrometheusCounter(
            "dual_mode_items_dropped",
            "Items that readers of a queue have missed for being slow",
            ["queue"],
            registry=registry,
        )
        self._queues: list[tuple[str, Callable[[], int], Callable[[], int]]] = []
        self._routes: dict[tuple[str, str], _Route] = {}
        self._told: Counter[tuple[PrometheusCounter, tuple[str, ...]]] = Counter()

    def watch_queue(self, name: str, depth: Callable[[], int], dropped: Callable[[], int]) -> None:
        """Tell of a queue: how many items wait in it, and how many it has dropped since ever."""
        self._queues.append((name, depth, dropped))

    def refresh(self) -> None:
        """Hand on what is new."""
        for name, depth, dropped in self._queues:
            self._depth.labels(name).set(depth())
            self._raise(self._dropped, dropped(), name)
        for route in tuple(self._routes.values()):
            self._open.labels(*route.labels).set(route.open)
            self._raise(self._events, route.events, *route.labels)
            for reason, count in tuple(route.ends.items()):
                self._raise(self._ends, count, *route.labels, reason)
            route.first.push(self._first.labels(*route.labels))
            route.gap.push(self._gap.labels(*route.labels))

    def opened(self, answer: Answer) -> None:
        """See `Observer`."""
        key = answer.route, answer.mode.name.lower()
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = _Route(*key)
        route.open += 1
        answer.context[self] = route

    def sent(self, answer: Answer, items: int, gap: float) -> None:
        """See `Observer`."""
        route: _Route = answer.context[self]
        route.events += items
        (route.first if answer.items == items else route.gap).add(gap)

    def ended(self, answer: Answer) -> None:
        """See `Observer`."""
        route: _Route = answer.context[self]
        route.open -= 1
        route.ends[answer.end] += 1

    def refused(self, scope: Scope, reason: str) -> None:
        """See `Observer`."""
        self._refused.labels(reason).inc()

    def stored(self, operation: str, seconds: float, failed: bool) -> None:
        """See `Observer`."""
        self._store.labels(operation, str(failed).lower()).observe(seconds)

    def _raise(self, counter: PrometheusCounter, total: int, *labels: str) -> None:
        """Let a counter say `total`."""
        key = counter, labels
        counter.labels(*labels).inc(total - self._told[key])
        self._told[key] = total


class _Refresh(Collector):
    """Collects nothing, but has the others ready."""

    def __init__(self, observer: PrometheusObserver) -> None:
        self._observer = observer

    def describe(self) -> Iterator[Metric]:
        return iter(())  # or it would be asked for its metrics at once

    def collect(self) -> Iterator[Metric]:
        self._observer.refresh()
        return iter(())
