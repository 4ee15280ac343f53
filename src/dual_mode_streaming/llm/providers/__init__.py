"""Providers behind the client that are somebody's service; each file loads that service's SDK."""
