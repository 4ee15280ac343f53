"""Workers on a store, which the tests of faults share and kill."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.stores.redis_server import RedisServer

from .cluster import StoreCluster
from .workers import Reader


@pytest.fixture(scope="package")
def kept_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that keeps every acknowledged write; it is started again if a test has killed it."""
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


# Each fault once, on the store that more of the world can befall; in make test-full on both.
@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.full), "redis"])
def stage(request: pytest.FixtureRequest) -> StoreCluster:
    """Two workers, on either store."""
    found: StoreCluster = request.getfixturevalue(f"on_{request.param}")
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
