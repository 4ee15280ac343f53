"""The client of a Redis: bounded connections, retries, scripts, and StoreError for each failure."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import RedisError

from dual_mode_streaming.errors import StoreError
from dual_mode_streaming.stores import _redis_scripts as scripts
from dual_mode_streaming.stores._base import check_stream
from dual_mode_streaming.stores._redis_pipeliner import Pipeliner
from dual_mode_streaming.stores._redis_publish import PUBLISH

_CONNECTIONS: Final = 16


class ScriptClient:
    """Runs the scripts of a store. No message of its errors contains the password of the URL.

    Args:
        url: the address of the Redis.
        prefix: the beginning of every key.
        timeout: the seconds that a call may take with all its retries.
    """

    def __init__(self, url: str, prefix: str, timeout: float) -> None:
        self.pool = pool_of(url, timeout)
        self._redis = Redis.from_pool(self.pool)
        self._prefix = prefix
        self._timeout = timeout
        options = self.pool.connection_kwargs
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        self._where = f"Redis at {options.get('path') or f'{host}:{port}'}"
        self._secret = str(options.get("password") or "")
        texts = {name: getattr(scripts, name) for name in scripts.__all__} | {"PUBLISH": PUBLISH}
        self._scripts = {name: self._redis.register_script(text) for name, text in texts.items()}
        self._writes = Pipeliner(self._redis, 100, timeout)
        self._reads = Pipeliner(self._redis, 16, timeout)  # a reply may be large
        self._index = [f"{prefix}:{{index}}:{name}" for name in scripts.INDEX]
        self.is_closed = False

    def channel(self, stream: str) -> str:
        """Return the name of the channel on which changes of a stream are published."""
        return f"{self._prefix}:changes:{stream}"

    async def run(self, script: str, stream: str, *args: Any, delay: float = 0) -> Any:
        """Run a script of one stream, and return its reply.

        Args:
            script: the name of the script.
            stream: the id of the stream.
            args: the arguments of the script.
            delay: the seconds that the call may wait, to share a pipeline with other calls.
        """
        keys = self._keys(stream)
        pipeliner = self._reads if script in scripts.READERS else self._writes
        return await self.call(lambda: pipeliner.run(self._scripts[script], keys, args, delay))

    async def run_index(self, script: str, *args: Any) -> Any:
        """Run a script of the index, and return its reply."""
        return await self.call(lambda: self._scripts[script](keys=self._index, args=args))

    async def call(self, call: Callable[[], Any]) -> Any:
        """Await what a function returns. Raises StoreError for every failure of Redis."""
        if self.is_closed:
            raise StoreError("the store is closed")
        try:
            async with asyncio.timeout(self._timeout):
                return await call()
        except TimeoutError:
            raise StoreError(f"{self._where} has not answered within {self._timeout:g} s") from None
        except (RedisError, OSError) as error:
            message = str(error)
            if self._secret and self._secret in message:
                message = message.replace(self._secret, "***")
                raise StoreError(f"{self._where}: {message:.300}") from None
            raise StoreError(f"{self._where}: {message:.300}") from error

    async def aclose(self) -> None:
        """Close the connections. Calls that are in flight fail."""
        self.is_closed = True
        await self._writes.aclose()
        await self._reads.aclose()
        self.pool.set_retry(Retry(NoBackoff(), 0))
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    def _keys(self, stream: str) -> list[str]:
        tag = f"{self._prefix}:{{{check_stream(stream)}}}"
        return [f"{tag}:meta", f"{tag}:data"]


def pool_of(url: str, timeout: float) -> BlockingConnectionPool:
    """Return a connection pool, without a connection yet.

    Args:
        url: the address of the Redis.
        timeout: the seconds to wait for a free connection, and twice as long as for a reply.

    Raises:
        ValueError: if redis-py cannot read the URL. The message does not repeat it.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout / 2,
            socket_connect_timeout=timeout / 2,
            protocol=2,
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), 3),
        )
    except (ValueError, TypeError, RedisError):
        raise ValueError("the address of the store is not a URL that redis-py can read") from None
    pool.connection_kwargs["decode_responses"] = False
    return pool
