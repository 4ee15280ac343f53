"""Pipelining: calls that arrive while others are in flight are sent together.

A call that is sent alone costs about five times as much.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError, NoScriptError

from dual_mode_streaming.running._tasks import end_tasks

_SIZE: Final = 1024 * 1024  # bytes of arguments in one pipeline
_CLOSED: Final = "the store was closed"


class Pipeliner:
    """Runs scripts in the order of the calls, with one pipeline in flight at a time.

    Args:
        redis: the client. Its owner closes it.
        most: the maximum number of calls in one pipeline.
        timeout: the maximum number of seconds for one pipeline.
    """

    def __init__(self, redis: Redis, most: int, timeout: float) -> None:
        self._redis = redis
        self._most = most
        self._timeout = timeout
        self._waiting: deque[_PendingCall] = deque()
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def run(
        self, script: AsyncScript, keys: list[str], args: tuple[Any, ...], delay: float
    ) -> asyncio.Future[Any]:
        """Run a script, and return the future of its reply. A cancelled call is not sent.

        Args:
            script: the script.
            keys: its keys.
            args: its arguments.
            delay: the seconds that the call may wait, to share a pipeline with other calls.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(_PendingCall(script, keys, args, reply))
        if not delay:
            self._send_soon()
        elif self._timer is None:
            self._timer = loop.call_later(delay, self._send_soon)
        return reply

    async def aclose(self) -> None:
        """Stop. Calls that are in flight fail."""
        task = self._task
        self._stop_timer()
        await end_tasks(task)
        while self._waiting:
            self._waiting.popleft().settle(ConnectionError(_CLOSED))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send_soon(self) -> None:
        """Send what waits now, or after the pipeline that is in flight."""
        self._stop_timer()
        self._is_due = True
        if self._task is None and self._waiting:
            self._task = asyncio.create_task(self._run(), name="redis pipeline")

    async def _run(self) -> None:
        try:
            while self._is_due and (calls := self._next()):
                self._is_due = bool(self._waiting)
                try:
                    async with asyncio.timeout(self._timeout):
                        await self._send(calls)
                except Exception as error:
                    for call in calls:
                        call.settle(error)
                finally:
                    for call in calls:  # those without a reply, when this task is cancelled
                        call.settle(ConnectionError(_CLOSED))
        finally:
            self._task = None

    def _next(self) -> list["_PendingCall"]:
        """Take the calls of the next pipeline from the queue."""
        calls: list[_PendingCall] = []
        size = 0
        while self._waiting and len(calls) < self._most and size < _SIZE:
            call = self._waiting.popleft()
            if not call.reply.done():
                calls.append(call)
                size += sum(len(arg) for arg in call.args if isinstance(arg, bytes))
        return calls

    async def _send(self, calls: list["_PendingCall"]) -> None:
        """Send calls; load the scripts that Redis does not have, and send their calls again."""
        unknown = await self._execute(calls)
        if unknown:
            for script in {call.script for call in unknown}:
                await self._redis.script_load(script.script)
            for call in await self._execute(unknown):
                call.settle(NoScriptError("Redis does not keep the scripts of the store"))

    async def _execute(self, calls: list["_PendingCall"]) -> list["_PendingCall"]:
        """Send calls and settle them. Returns those whose script Redis does not have."""
        pipeline = self._redis.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
        unknown = []
        for call, reply in zip(calls, await pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(reply, NoScriptError):
                unknown.append(call)
            else:
                call.settle(reply)
        return unknown


@dataclass(slots=True)
class _PendingCall:
    """A call of a script, and the future of its reply."""

    script: AsyncScript
    keys: list[str]
    args: tuple[Any, ...]
    reply: asyncio.Future[Any]

    def settle(self, result: Any) -> None:
        """Set the reply, or the exception, if nobody has."""
        if self.reply.done():
            return
        if isinstance(result, Exception):
            self.reply.set_exception(result)
        else:
            self.reply.set_result(result)
