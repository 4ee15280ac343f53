"""The client of a Redis: bounded connections, retries, scripts, and StoreError for each failure."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, ClusterError, NoPermissionError, RedisError

from dual_mode_streaming.errors import StoreError
from dual_mode_streaming.stores import _redis_scripts as scripts
from dual_mode_streaming.stores._base import check_stream
from dual_mode_streaming.stores._redis_pipeliner import Pipeliner
from dual_mode_streaming.stores._redis_pool import pool_of
from dual_mode_streaming.stores._redis_publish import PUBLISH

_OLDEST: Final = (6, 2)
_CLUSTER: Final = "is a Redis Cluster: use a Redis of its own, or redis+sentinel://"
_REFUSED: Final = "user executing the script"  # may not do what the script does
_RIGHTS: Final = "its user needs the rights ~{0}:* &{0}:* +@all -@admin -@dangerous +info"


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
        service = getattr(self.pool, "service_name", None)
        place = options.get("path") or f"{host}:{port}"
        self._where = f"Redis at {place}" if service is None else f"Redis service {service}"
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
        except (AskError, ClusterError) as error:  # in a program, which checks no server first
            raise StoreError(f"{self._where} {_CLUSTER}") from error
        except (RedisError, OSError) as error:
            message = str(error)
            if isinstance(error, NoPermissionError) or _REFUSED in message:
                message = f"{message[:200]}; {_RIGHTS.format(self._prefix)}"
            if self._secret and self._secret in message:
                message = message.replace(self._secret, "***")
                raise StoreError(f"{self._where}: {message:.300}") from None
            raise StoreError(f"{self._where}: {message:.300}") from error

    async def check_server(self) -> None:
        """Raise StoreError if the server is none that a store can be in."""
        redis: Any = self._redis
        reply = await self.call(lambda: redis.execute_command("HELLO", 2))
        await self.call(lambda: redis.execute_command("INFO", "server"))  # scripts use it
        said = dict(zip(reply[::2], reply[1::2], strict=True))
        known = (str(said.get(name, b""), "ascii") for name in (b"mode", b"role", b"version"))
        mode, role, version = known
        wrong = ""
        if mode == "cluster":
            wrong = _CLUSTER
        elif mode == "sentinel":
            wrong = "is a Sentinel: use redis+sentinel://HOST:PORT/SERVICE"
        elif role != "master":
            wrong = "is a replica, to which nothing can be written: use the address of its master"
        elif tuple(map(int, version.split(".")[:2])) < _OLDEST:
            wrong = f"is version {version}: 6.2 or newer is needed"
        if wrong:
            raise StoreError(f"{self._where} {wrong}")

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
