"""Workers on a store, which the tests of faults share and kill."""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.stores.redis_server import RedisServer

from .workers import Cluster, Reader


class Stage(Cluster):
    """Two workers on a store; `file` is that of SQLite, `redis` the server."""

    file: Path | None = None
    redis: RedisServer | None = None

    @contextlib.contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """While this lasts, which is so long at least, nobody can write."""
        until = time.monotonic() + seconds
        if self.redis is not None:
            assert self.redis.ask(f"CLIENT PAUSE {round(seconds * 1000)} ALL") == "+OK"
            yield
            time.sleep(max(0.0, until - time.monotonic()))
            return
        with open(f"{self.file}-lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            time.sleep(max(0.0, until - time.monotonic()))

    def restart(self) -> None:
        """Crash the store and begin it anew; with SQLite, that is all who have the file open."""
        if self.redis is not None:
            self.redis.kill()
            self.redis.start()
        else:
            self.kill(0, 1)

    def mark(self) -> None:
        """What is kept now survives `lose_the_rest`."""
        if self.redis is not None:
            self._size = self._log.stat().st_size
            return
        with (
            contextlib.closing(sqlite3.connect(f"{self.file}")) as file,
            contextlib.closing(sqlite3.connect(f"{self.file}-copy")) as copy,
        ):
            file.backup(copy)

    def lose_the_rest(self) -> None:
        """Crash the store, take from it what came after the mark, and begin it anew."""
        if self.redis is not None:
            self.redis.kill()
            os.truncate(self._log, self._size)
            self.redis.start()
            return
        for worker in self.workers:
            worker.kill()
        os.replace(f"{self.file}-copy", f"{self.file}")
        for name in ("wal", "shm"):
            os.unlink(f"{self.file}-{name}")
        self.kill(0, 1)

    @property
    def _log(self) -> Path:
        assert self.redis is not None
        (log,) = (self.redis.folder / "appendonlydir").glob("*.incr.aof")
        return log


@pytest.fixture(scope="package")
def kept_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that keeps every acknowledged write; it is started again if a test has killed it."""
    flags = ("--appendonly", "yes", "--appendfsync", "everysec", "--aof-load-truncated", "yes")
    server = RedisServer(tmp_path_factory.mktemp("kept"), *flags)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="package")
def on_redis(kept_redis: RedisServer) -> Iterator[Stage]:
    with contextlib.closing(Stage(kept_redis.url)) as stage:
        stage.redis = kept_redis
        yield stage


@pytest.fixture(scope="package")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    file = tmp_path_factory.mktemp("sqlite") / "file"
    with contextlib.closing(Stage(f"sqlite:{file}")) as stage:
        stage.file = file
        yield stage


@pytest.fixture(params=["sqlite", "redis"])
def stage(request: pytest.FixtureRequest) -> Stage:
    """Two workers, on either store."""
    found: Stage = request.getfixturevalue(f"on_{request.param}")
    found.all_up()
    return found


@pytest.fixture
async def reading() -> AsyncIterator[Callable[..., Reader]]:
    """Begins to read a stream; whatever is still read at the end of the test is left."""
    async with contextlib.AsyncExitStack() as stack:

        def read(url: str, path: str, **options: object) -> Reader:
            reader = Reader(url, path, **options)
            stack.push_async_callback(reader.aclose)
            return reader

        yield read
