"""The way to Redis: bounded connections, retries, scripts, and every failure a StoreError."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import RedisError

from dual_mode_streaming.stores import _redis_scripts as scripts
from dual_mode_streaming.stores._base import StoreError, check_stream
from dual_mode_streaming.stores._redis_pipeliner import Pipeliner

__all__ = ["Link", "pool_of"]

_CONNECTIONS: Final = 16


class Link:
    """A client of one Redis. No message of its errors has the URL's password in it.

    `prefix` begins every key; `timeout` are the seconds that a call may take with all its retries.
    """

    def __init__(self, url: str, prefix: str, timeout: float) -> None:
        self.pool = pool_of(url, timeout)
        self._prefix = prefix
        self._timeout = timeout
        options = self.pool.connection_kwargs
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        self._where = f"Redis at {options.get('path') or f'{host}:{port}'}"
        self._secret = str(options.get("password") or "")
        self._client = Redis.from_pool(self.pool)
        self._scripts = {
            name: self._client.register_script(getattr(scripts, name)) for name in scripts.__all__
        }
        self._writes = Pipeliner(self._client, 100, timeout)
        self._reads = Pipeliner(self._client, 16, timeout)  # an answer may be large
        self._index = [f"{prefix}:{{index}}:{name}" for name in scripts.INDEX]
        self._closed = False

    def channel(self, stream: str) -> str:
        """Where the news of a stream is told."""
        return f"{self._prefix}:news:{stream}"

    async def of(self, script: str, stream: str, *args: Any, patience: float = 0) -> Any:
        """Run a script of one stream. Out: its answer.

        With `patience` it may wait for so many seconds, to go together with others.
        """
        keys = self._keys(stream)
        calls = self._reads if script in scripts.READERS else self._writes
        return await self.call(lambda: calls.run(self._scripts[script], keys, args, patience))

    async def of_each(self, script: str, streams: Iterable[str], *args: Any) -> list[Any]:
        """Run the same script of many streams, in one go. Out: their answers."""
        pipeline = self._client.pipeline(transaction=False)
        for stream in streams:
            await self._scripts[script](keys=self._keys(stream), args=args, client=pipeline)
        answers: list[Any] = await self.call(pipeline.execute)
        return answers

    async def of_all(self, script: str, *args: Any) -> Any:
        """Run a script of the index. Out: its answer."""
        return await self.call(lambda: self._scripts[script](keys=self._index, args=args))

    async def call(self, call: Callable[[], Any]) -> Any:
        """What Redis answers. StoreError for all that may go wrong on the way."""
        if self._closed:
            raise StoreError("the store is closed")
        try:
            async with asyncio.timeout(self._timeout):
                return await call()
        except TimeoutError:
            raise StoreError(f"{self._where} has not answered within {self._timeout:g} s") from None
        except (RedisError, OSError) as error:
            told = str(error)
            if self._secret and self._secret in told:
                told = told.replace(self._secret, "***")
                raise StoreError(f"{self._where}: {told:.300}") from None
            raise StoreError(f"{self._where}: {told:.300}") from error

    async def aclose(self) -> None:
        """Close the connections; calls that are under way fail."""
        self._closed = True
        await self._writes.aclose()
        await self._reads.aclose()
        self.pool.set_retry(Retry(NoBackoff(), 0))
        with suppress(RedisError, OSError):
            await self._client.aclose()

    def _keys(self, stream: str) -> list[str]:
        tag = f"{self._prefix}:{{{check_stream(stream)}}}"
        return [f"{tag}:meta", f"{tag}:data"]


def pool_of(url: str, timeout: float) -> BlockingConnectionPool:
    """The connections of a store, none of them made yet. ValueError without the URL's secrets."""
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
        raise ValueError("the address of the store is not a URL that redis-py reads") from None
    pool.connection_kwargs["decode_responses"] = False
    return pool
