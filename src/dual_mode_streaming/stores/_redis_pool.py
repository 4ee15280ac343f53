"""Connections to Redis by a URL: to one server, or to the master that a Sentinel names."""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError, RedisError

_CONNECTIONS: Final = 16
_SENTINEL_PORT: Final = 26379


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """A pool of connections to the current master; a full one is waited for."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:  # the pool is closed: after a failover only the others are
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


class _ResetMixin:
    """A connection whose reset is a `ConnectionError` in every event loop.

    uvloop raises RuntimeError if one writes to a connection that was reset.
    """

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except RuntimeError as error:
            raise ConnectionError(f"the connection was lost: {error}") from error


def pool_of(url: str, timeout: float) -> BlockingConnectionPool:
    """Return a connection pool, without a connection yet.

    Args:
        url: the address of the Redis, or `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE`.
        timeout: the seconds to wait for a free connection, and twice as long as for a reply.

    Raises:
        ValueError: if redis-py cannot read the URL. The message does not repeat it.
    """
    options: dict[str, Any] = {
        "max_connections": _CONNECTIONS,
        "timeout": timeout,
        "socket_timeout": timeout / 2,
        "socket_connect_timeout": timeout / 2,
        "protocol": 2,
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), 3),
    }
    try:
        if "+sentinel://" in url:
            pool = _sentinel_pool(url, options)
        else:
            parts = urlsplit(url)
            if parts.scheme != "unix":
                _check_database(parts.path.strip("/"))
            pool = BlockingConnectionPool.from_url(url, **options)
        plain: Any = pool.connection_class
        pool.connection_class = type(plain.__name__, (_ResetMixin, plain), {})
        pool.make_connection()  # type: ignore[no-untyped-call]  # it is not connected; an unknown option is a TypeError
    except (ValueError, TypeError, RedisError):
        raise ValueError("the address of the store is not a URL that redis-py can read") from None
    pool.connection_kwargs["decode_responses"] = False
    return pool


def _sentinel_pool(url: str, options: dict[str, Any]) -> BlockingConnectionPool:
    """Return a pool for `redis+sentinel://`, or with TLS `rediss+sentinel://`."""
    parts = urlsplit(url)
    service, _, database = parts.path.removeprefix("/").partition("/")
    userinfo, at, hosts = parts.netloc.rpartition("@")
    if not service:
        raise ValueError("the name of the service is missing")
    _check_database(database)
    scheme = parts.scheme.removesuffix("+sentinel")
    given: dict[str, Any] = dict(
        parse_url(f"{scheme}://{userinfo}{at}localhost/{database}?{parts.query}")
    )
    for name in ("host", "port", "connection_class"):
        given.pop(name, None)
    own = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout")}
    for name in ("username", "password"):
        if (value := given.pop(f"sentinel_{name}", None)) is not None:
            own[name] = value
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        [*_addresses(hosts)], sentinel_kwargs=own
    )
    return _SentinelPool(  # type: ignore[no-untyped-call]
        service, sentinel, ssl=scheme == "rediss", **options | given
    )


def _check_database(name: str) -> None:
    """Raise ValueError if it is no number: redis-py takes any other name for the database 0."""
    if name:
        int(name)


def _addresses(hosts: str) -> Iterable[tuple[str, int]]:
    for host in hosts.split(","):
        split = urlsplit(f"//{host}")
        if not split.hostname:
            raise ValueError("the host of a Sentinel is missing")
        yield split.hostname, split.port or _SENTINEL_PORT
