"""The routes of channels, which speak the Durable Streams protocol, and plain SSE."""
