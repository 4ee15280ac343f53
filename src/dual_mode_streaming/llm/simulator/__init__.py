"""A model that needs no network: it says what a script says, at a pace."""
