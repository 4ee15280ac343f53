"""A simulated model for tests and demonstrations: no key, no network."""
