"""The store of one process."""

from dual_mode_streaming.stores import Limits, MemoryStore, Store
from dual_mode_streaming.testing import StoreConformance


class TestMemoryStore(StoreConformance):
    async def open(self, limits: Limits) -> Store:
        return MemoryStore(limits)
