"""Endpoints whose answers are recorded, and the routes that read them again."""
