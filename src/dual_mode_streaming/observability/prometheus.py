"""Prometheus metrics of responses, queues and stores."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Gauge, Histogram, Metric
    from prometheus_client import Counter as PrometheusCounter
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise ImportError(
        "PrometheusObserver needs: pip install 'dual-mode-streaming[metrics]'"
    ) from error
from starlette.types import Scope

from dual_mode_streaming.web._observing import Answer, Observer

__all__ = ["PrometheusObserver"]

_FIRST: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_GAPS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_CALLS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5)


class _Buckets:
    """Durations counted by bucket in plain numbers, for each send of each stream.

    `Histogram.observe` costs ten times as much.
    """

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
        """Add the new counts. The names are private: no public method adds many at once."""
        for number, bucket in enumerate(histogram._buckets):
            total = self._counts[number]
            bucket.inc(total - self._pushed[number])
            self._pushed[number] = total
        total_sum = self._sum
        histogram._sum.inc(total_sum - self._sum_pushed)
        self._sum_pushed = total_sum


class _RouteStatistics:
    """The numbers of one route in one mode."""

    __slots__ = ("ends", "events", "first", "gap", "labels", "open")

    def __init__(self, *labels: str) -> None:
        self.labels = labels
        self.open = 0
        self.events = 0
        self.ends: Counter[str] = Counter()
        self.first = _Buckets(_FIRST)
        self.gap = _Buckets(_GAPS)


class PrometheusObserver(Observer):
    """`install(app, observers=[PrometheusObserver()])`: metrics, which the app has to expose.

    The label `route` is the path as the app declares it, so clients cannot invent labels. A gap is
    the time between two sends of one stream; items that are ready together are sent together.

    The numbers are passed on at each scrape of the registry. With several workers
    (prometheus_client's multiprocess mode) the registry of a worker is not scraped: call `refresh`
    there every few seconds.

    Args:
        registry: where the metrics are registered; it takes one observer.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        registry.register(_Refresh(self))  # registered first, so collected first
        labels = ["route", "mode"]
        self._open = Gauge(
            "dual_mode_streams_open",
            "Responses in progress, including batches",
            labels,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._events = PrometheusCounter(
            "dual_mode_events_sent",
            "Items sent as events or lines",
            labels,
            registry=registry,
        )
        self._first = Histogram(
            "dual_mode_first_event_seconds",
            "Time from the start of a stream until its first items were sent",
            labels,
            registry=registry,
            buckets=_FIRST,
        )
        self._gap = Histogram(
            "dual_mode_event_gap_seconds",
            "Time between two sends of items of one stream",
            labels,
            registry=registry,
            buckets=_GAPS,
        )
        self._ends = PrometheusCounter(
            "dual_mode_stream_ends",
            "Responses that have ended, by reason",
            [*labels, "reason"],
            registry=registry,
        )
        self._refused = PrometheusCounter(
            "dual_mode_streams_refused",
            "Requests that were refused, by reason",
            ["reason"],
            registry=registry,
        )
        self._store = Histogram(
            "dual_mode_store_seconds",
            "Duration of a call of the store",
            ["operation", "failed"],
            registry=registry,
            buckets=_CALLS,
        )
        self._depth = Gauge(
            "dual_mode_queue_depth",
            "Items that the slowest reader of a queue is behind",
            ["queue"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._dropped = PrometheusCounter(
            "dual_mode_items_dropped",
            "Items that slow readers of a queue have missed",
            ["queue"],
            registry=registry,
        )
        self._queues: list[tuple[str, Callable[[], int], Callable[[], int]]] = []
        self._routes: dict[tuple[str, str], _RouteStatistics] = {}
        self._reported: Counter[tuple[PrometheusCounter, tuple[str, ...]]] = Counter()

    def watch_queue(self, name: str, depth: Callable[[], int], dropped: Callable[[], int]) -> None:
        """Export a queue.

        Args:
            name: the label `queue`.
            depth: returns how many items wait in it.
            dropped: returns how many items it has dropped since it was made.
        """
        self._queues.append((name, depth, dropped))

    def refresh(self) -> None:
        """Pass the new numbers on to the metrics."""
        for name, depth, dropped in self._queues:
            self._depth.labels(name).set(depth())
            self._advance(self._dropped, dropped(), name)
        for route in tuple(self._routes.values()):
            self._open.labels(*route.labels).set(route.open)
            self._advance(self._events, route.events, *route.labels)
            for reason, count in tuple(route.ends.items()):
                self._advance(self._ends, count, *route.labels, reason)
            route.first.push(self._first.labels(*route.labels))
            route.gap.push(self._gap.labels(*route.labels))

    def opened(self, answer: Answer) -> None:
        """See `Observer`."""
        key = answer.route, answer.mode.name.lower()
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = _RouteStatistics(*key)
        route.open += 1
        answer.context[self] = route

    def sent(self, answer: Answer, items: int, gap: float) -> None:
        """See `Observer`."""
        route: _RouteStatistics = answer.context[self]
        route.events += items
        (route.first if answer.items == items else route.gap).add(gap)

    def ended(self, answer: Answer) -> None:
        """See `Observer`."""
        route: _RouteStatistics = answer.context[self]
        route.open -= 1
        route.ends[answer.end] += 1

    def refused(self, scope: Scope, reason: str) -> None:
        """See `Observer`."""
        self._refused.labels(reason).inc()

    def stored(self, operation: str, seconds: float, failed: bool) -> None:
        """See `Observer`."""
        self._store.labels(operation, str(failed).lower()).observe(seconds)

    def _advance(self, counter: PrometheusCounter, total: int, *labels: str) -> None:
        """Advance a counter to `total`."""
        key = counter, labels
        counter.labels(*labels).inc(total - self._reported[key])
        self._reported[key] = total


class _Refresh(Collector):
    """Collects nothing itself; refreshes the metrics that are collected after it."""

    def __init__(self, observer: PrometheusObserver) -> None:
        self._observer = observer

    def describe(self) -> Iterator[Metric]:
        return iter(())  # without `describe`, `register` would call `collect`

    def collect(self) -> Iterator[Metric]:
        self._observer.refresh()
        return iter(())
