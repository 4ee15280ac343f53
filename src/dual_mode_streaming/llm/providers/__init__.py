"""Providers that call a service; each module imports the SDK of its service."""
