"""Workers on a store. The tests of faults share and kill them."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.stores.redis_server import RedisServer

from .cluster import StoreCluster
from .workers import Reader


@pytest.fixture(scope="package")
def kept_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server that keeps its data on disk; it is restarted after a test has killed it."""
    flags = ("--appendonly", "yes", "--appendfsync", "everysec", "--aof-load-truncated", "yes")
    server = RedisServer(tmp_path_factory.mktemp("kept"), *flags)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="package")
def on_redis(kept_redis: RedisServer) -> Iterator[StoreCluster]:
    with contextlib.closing(StoreCluster(redis=kept_redis)) as stage:
        yield stage


@pytest.fixture(scope="package")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreCluster]:
    file = tmp_path_factory.mktemp("sqlite") / "file"
    with contextlib.closing(StoreCluster(file=file)) as stage:
        yield stage


# By default each fault once, on Redis, where more can fail; in `make test-full` on both stores.
@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.full), "redis"])
def stage(request: pytest.FixtureRequest) -> StoreCluster:
    """Two running workers on one store."""
    found: StoreCluster = request.getfixturevalue(f"on_{request.param}")
    found.all_up()
    return found


@pytest.fixture
async def reading() -> AsyncIterator[Callable[..., Reader]]:
    """Start a reader of a stream; it is closed at the end of the test."""
    async with contextlib.AsyncExitStack() as stack:

        def read(url: str, path: str, **options: object) -> Reader:
            reader = Reader(url, path, **options)
            stack.push_async_callback(reader.aclose)
            return reader

        yield read
