"""OpenTelemetry spans of responses, from the start of the generator to the end of the stream."""

try:
    from opentelemetry import context, propagate, trace
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
except ModuleNotFoundError as error:
    raise ImportError(
        "OpenTelemetryObserver needs: pip install 'dual-mode-streaming[otel]'"
    ) from error

from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.web._observing import Answer, Observer

__all__ = ["OpenTelemetryObserver"]

_FAILURES = frozenset({"failed", "stalled", "too_long", "idle"})


class OpenTelemetryObserver(Observer):
    """`install(app, observers=[OpenTelemetryObserver()])`: a span for each response.

    The parent is the current span, such as that of an instrumentation of the framework. Without one
    the parent is taken from the request's `traceparent` header (W3C Trace Context), and the span is
    of kind SERVER. The span begins before the generator starts and ends when the stream has ended,
    not when the headers are sent. An event of the span marks the first items.

    Args:
        tracer: makes the spans; by default a tracer of the global provider.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or trace.get_tracer("dual_mode_streaming")

    def opened(self, answer: Answer) -> None:
        """See `Observer`."""
        current = trace.get_current_span().get_span_context().is_valid
        parent: context.Context | None = None
        if not current:
            headers = answer.scope["headers"]
            carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
            parent = propagate.extract(carrier)
        answer.context[self] = self._tracer.start_span(
            f"{answer.method} {answer.route} {answer.mode.name.lower()}",
            context=parent,
            kind=SpanKind.INTERNAL if current else SpanKind.SERVER,
            attributes={
                "http.request.method": answer.method,
                "http.route": answer.route,
                "dual_mode.mode": answer.mode.name.lower(),
            },
        )

    def sent(self, answer: Answer, items: int, gap: float) -> None:
        """See `Observer`."""
        if answer.items == items:
            span: Span = answer.context[self]
            span.add_event("first items", {"dual_mode.items": items})

    def ended(self, answer: Answer) -> None:
        """See `Observer`."""
        span: Span = answer.context.pop(self)
        span.set_attribute("http.response.status_code", answer.status)
        span.set_attribute("dual_mode.end", answer.end)
        if answer.mode is not ResponseMode.BATCH:
            span.set_attribute("dual_mode.items", answer.items)
            span.set_attribute("dual_mode.bytes", answer.size)
        if answer.end in _FAILURES and not 400 <= answer.status < 500:
            span.set_status(Status(StatusCode.ERROR, answer.end))
        span.end()
