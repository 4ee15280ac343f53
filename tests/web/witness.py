"""A generator's life seen from inside, and generators that wait, are silent, or never wait."""

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from fastapi import FastAPI

from dual_mode_streaming import dual_mode

MODES = ["application/json", "text/event-stream", "application/jsonl"]
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


class Witness:
    """What a generator's life looked like from inside."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.log: list[str] = []
        self.tasks: set[Any] = set()

    @asynccontextmanager
    async def watching(self):
        token = variable.set("inside")
        self.tasks.add(asyncio.current_task())
        self.started.set()
        try:
            yield
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        except GeneratorExit:
            self.log.append("exit")
            raise
        finally:
            self.tasks.add(asyncio.current_task())
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # a cancel at every await would interrupt the second one too
            with anyio.CancelScope():
                await anyio.sleep(0)
            variable.reset(token)  # ValueError in another context
            self.log.append("closed")


def idle(witness: Witness):
    async def source() -> AsyncIterator[int]:
        async with witness.watching():
            yield 1
            await asyncio.Event().wait()

    return source


def silent(witness: Witness):
    async def source() -> AsyncIterator[int]:
        async with witness.watching():
            await asyncio.Event().wait()
            yield 1

    return source


def busy(witness: Witness):
    async def source() -> AsyncIterator[str]:
        async with witness.watching():
            while True:
                yield "x" * 1000

    return source


def app_of(function: Any, **options: Any) -> FastAPI:
    app = FastAPI()
    app.get("/")(dual_mode(**options)(function))
    return app


class AnyTimeout:
    def __init__(self, scope: Any, seconds: float) -> None:
        self.scope = scope(seconds)
        self.is_async = hasattr(self.scope, "__aenter__")

    async def __aenter__(self):
        return await self.scope.__aenter__() if self.is_async else self.scope.__enter__()

    async def __aexit__(self, *info):
        return await self.scope.__aexit__(*info) if self.is_async else self.scope.__exit__(*info)
