"""Calls that come while others are under way go together: each alone costs five times more."""

import asyncio
from collections import deque
from typing import Any, Final

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError, NoScriptError

__all__ = ["Pipeliner"]

_SIZE: Final = 1024 * 1024
_CLOSED: Final = "the store was closed"


class Pipeliner:
    """Runs scripts, in the order in which they were asked for, up to `most` in one go.

    Only one go is under way at a time; it takes `timeout` seconds at most. Calls that the caller
    has cancelled before they went do not go.
    """

    def __init__(self, client: Redis, most: int, timeout: float) -> None:
        self._client = client
        self._most = most
        self._timeout = timeout
        self._waiting: deque[_Call] = deque()
        self._urgent = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def run(
        self, script: AsyncScript, keys: list[str], args: tuple[Any, ...], patience: float
    ) -> asyncio.Future[Any]:
        """What the script answers. A call with `patience` may wait so many seconds for others."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(_Call(script, keys, args, answer))
        if not patience:
            self._hurry()
        elif self._timer is None:
            self._timer = loop.call_later(patience, self._hurry)
        return answer

    async def aclose(self) -> None:
        """Give up; calls that are under way fail."""
        task = self._task
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        while self._waiting:
            self._waiting.popleft().settle(ConnectionError(_CLOSED))

    def _hurry(self) -> None:
        """What waits goes now, or as soon as the go before is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._urgent = True
        if self._task is None and self._waiting:
            self._task = asyncio.create_task(self._run(), name="calls to redis")

    async def _run(self) -> None:
        try:
            while self._urgent and (calls := self._next()):
                self._urgent = bool(self._waiting)
                try:
                    async with asyncio.timeout(self._timeout):
                        await self._go(calls)
                except Exception as error:
                    for call in calls:
                        call.settle(error)
                finally:
                    for call in calls:
                        call.settle(ConnectionError(_CLOSED))  # nothing, if it has its answer
        finally:
            self._task = None

    def _next(self) -> list["_Call"]:
        """The calls of the next go."""
        calls: list[_Call] = []
        size = 0
        while self._waiting and len(calls) < self._most and size < _SIZE:
            call = self._waiting.popleft()
            if not call.answer.done():
                calls.append(call)
                size += sum(len(arg) for arg in call.args if isinstance(arg, bytes))
        return calls

    async def _go(self, calls: list["_Call"]) -> None:
        unknown = await self._send(calls)
        if unknown:
            for script in {call.script for call in unknown}:
                await self._client.script_load(script.script)
            for call in await self._send(unknown):
                call.settle(NoScriptError("the scripts of the store are not kept"))

    async def _send(self, calls: list["_Call"]) -> list["_Call"]:
        """Run them, and give their callers the answers. Out: those whose script Redis has not."""
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
        unknown = []
        for call, answer in zip(calls, await pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(answer, NoScriptError):
                unknown.append(call)
            else:
                call.settle(answer)
        return unknown


class _Call:
    """A call, and the future that its caller waits for."""

    __slots__ = ("answer", "args", "keys", "script")

    def __init__(
        self,
        script: AsyncScript,
        keys: list[str],
        args: tuple[Any, ...],
        answer: asyncio.Future[Any],
    ) -> None:
        self.script = script
        self.keys = keys
        self.args = args
        self.answer = answer

    def settle(self, answer: Any) -> None:
        """Give the answer to who still waits for it."""
        if self.answer.done():
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)
