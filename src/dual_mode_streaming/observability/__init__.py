"""Observers for the usual ways to look at a service: Prometheus, OpenTelemetry; each an extra."""
