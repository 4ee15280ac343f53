"""The service: the endpoints that show both modes, and what it takes to run them."""
