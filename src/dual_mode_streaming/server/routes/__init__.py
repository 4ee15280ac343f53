"""Routes of the service that are more than a few lines."""
