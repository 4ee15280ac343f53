"""Tests of the observers for Prometheus and OpenTelemetry."""
