"""The same feed, its items not frozen: each reader's are encoded for it alone."""

from dual_mode_streaming.server.routes._feed import Sample

from .feed import app_of


class Loose(Sample, frozen=False):
    pass


app = app_of(Loose)
