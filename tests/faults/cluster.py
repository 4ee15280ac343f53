"""A store with its workers, and the faults that can befall it."""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from tests.stores.redis_server import RedisServer

from .workers import Cluster, Worker


class StoreCluster(Cluster):
    """Two workers on a store: in a file of SQLite, or on a server of Redis."""

    def __init__(self, *, file: Path | None = None, redis: RedisServer | None = None) -> None:
        super().__init__(f"sqlite:{file}" if redis is None else redis.url)
        self.file = file
        self.redis = redis

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

    def let_stand(self, worker: Worker) -> None:
        """Let a worker stand still, but not in the midst of a write.

        It would keep the file of SQLite locked for all others, for as long as it stands.
        """
        while True:
            worker.pause()
            if self.redis is not None or self._can_be_locked():
                return
            worker.wake()

    def _can_be_locked(self) -> bool:
        until = time.monotonic() + 0.2
        with open(f"{self.file}-lock", "w") as lock:
            while time.monotonic() < until:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
                time.sleep(0.002)
        return False

    def restart(self) -> None:
        """Crash the store and begin it anew; with SQLite, that is all who have the file open."""
        if self.redis is not None:
            self.redis.kill()
            self.kills += 1
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
