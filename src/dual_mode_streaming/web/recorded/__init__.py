"""Recorded endpoints, and the routes that read, cancel and delete their streams."""
