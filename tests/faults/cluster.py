"""A store with its workers, and faults of that store."""

import contextlib
import fcntl
import math
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from tests.stores.redis_server import RedisServer
from tests.stores.replicated import Replicated

from .proxy import Proxy
from .workers import Cluster, Worker


class StoreCluster(Cluster):
    """Two workers on one store: a SQLite file, a Redis, or one that Sentinel watches.

    Attributes:
        proxies: between each worker and its Redis, unless Sentinel says where that is.
        losses: from when to when the store took what it has not any more, in monotonic seconds.
    """

    def __init__(
        self,
        *,
        file: Path | None = None,
        redis: RedisServer | None = None,
        replicated: Replicated | None = None,
    ) -> None:
        self.file = file
        self.replicated = replicated
        self.losses: list[tuple[float, float]] = []
        self._redis = redis
        self.proxies = [Proxy(redis.port) for _ in range(2)] if redis is not None else []
        url = replicated.url if replicated else redis.url if redis else f"sqlite:{file}"
        super().__init__(url)

    @property
    def redis(self) -> RedisServer | None:
        """The Redis that takes the writes."""
        return self._redis if self.replicated is None else self.replicated.master

    def store_of(self, number: int) -> str:
        """Return the address of the store for one worker."""
        if not self.proxies:
            return self.store
        return f"redis://127.0.0.1:{self.proxies[number].port}"

    def close(self) -> None:
        super().close()
        for proxy in self.proxies:
            proxy.close()

    @contextlib.contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Block all writes in this context, at least for `seconds`."""
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

    def suspend(self, worker: Worker) -> None:
        """Stop the process of a worker, but not during a write.

        A write would keep the SQLite file locked for all others.
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
        """Crash and restart the store; for SQLite, all processes that have the file open."""
        if self.redis is not None:
            self.redis.kill()
            self.kills += 1
            self.redis.start()
        else:
            self.kill(0, 1)

    def mark(self) -> None:
        """Set the point to which `lose_the_rest` takes the store back."""
        self._marked = time.monotonic()
        if self.replicated is not None:
            self.replicated.let_the_replica_lag()
            return
        if self.redis is not None:
            self._size = self._log.stat().st_size
            return
        with (
            contextlib.closing(sqlite3.connect(f"{self.file}")) as file,
            contextlib.closing(sqlite3.connect(f"{self.file}-copy")) as copy,
        ):
            file.backup(copy)

    def lose_the_rest(self) -> None:
        """Crash the store, remove what was written after the mark, and restart it.

        Behind Sentinel it is the failover to a replica that lags since the mark.
        """
        self.losses.append((self._marked, math.inf))
        try:
            self._lose()
        finally:
            self.losses[-1] = self._marked, time.monotonic()

    def _lose(self) -> None:
        if self.replicated is not None:
            self.replicated.fail()
            self.replicated.recover()
            return
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
