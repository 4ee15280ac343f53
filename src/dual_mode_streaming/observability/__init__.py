"""Observers that export metrics (Prometheus) and traces (OpenTelemetry); each needs its extra."""
