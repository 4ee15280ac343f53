"""The store in a file of SQLite."""

import pytest

from dual_mode_streaming.stores import Limits, SQLiteStore, Store
from dual_mode_streaming.testing import StoreConformance


class TestSQLiteStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path):
        self.path = tmp_path / "streams.db"

    async def open(self, limits: Limits) -> Store:
        return SQLiteStore(self.path, limits)
