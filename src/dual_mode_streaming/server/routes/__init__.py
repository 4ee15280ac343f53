"""The routes of the service, one module each."""
