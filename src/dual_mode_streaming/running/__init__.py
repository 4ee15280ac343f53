"""The task that owns a generator, the loop that pulls from it, and its timeslices."""
