"""The service of `dual-mode serve`: its settings, its app, its routes and its server."""
