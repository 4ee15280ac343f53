"""Any generator and any client: whatever the two do, the generator is closed once, where it ran,
and what the client holds in the end is whole, failed or cut, and never one that looks like another.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
from fastapi import Depends, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from dual_mode_streaming import BrokenTransfer, dual_mode

from .asgi import Client, on_virtual_clock

STEPS = st.sampled_from(["yield", "yield", "burst", "suspend", "timer", "scope", "raise", "wait"])
MODES = ["application/json", "text/event-stream", "application/jsonl"]


class Life:
    """A generator by a script, and the record of its life."""

    def __init__(self, script: list[str], cleanup: int, stubborn: bool) -> None:
        self.script = script
        self.cleanup = cleanup
        self.stubborn = stubborn
        self.started = False
        self.closed = 0
        self.made = 0
        self.tasks: set[Any] = set()
        self.order: list[str] = []

    async def dependency(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self.order.append("dependency")

    async def source(self) -> AsyncIterator[int]:
        self.started = True
        self.tasks.add(asyncio.current_task())
        try:
            for step in self.script:
                if step == "yield":
                    self.made += 1
                    yield self.made
                elif step == "burst":
                    for _ in range(200):
                        self.made += 1
                        yield self.made
                elif step == "suspend":
                    await asyncio.sleep(0)
                elif step == "timer":
                    await asyncio.sleep(0.0005)
                elif step == "scope":
                    with anyio.move_on_after(0.0005):
                        await anyio.sleep_forever()
                elif step == "raise":
                    raise KeyError("scripted")
                else:
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        if not self.stubborn:
                            raise
                        self.stubborn = False
        finally:
            self.closed += 1
            self.tasks.add(asyncio.current_task())
            try:
                # Cut short only where the end comes when it is closing by itself already.
                for _ in range(self.cleanup):
                    await asyncio.sleep(0)
            finally:
                self.order.append("generator")


@given(
    script=st.lists(STEPS, max_size=6),
    cleanup=st.integers(0, 3),
    stubborn=st.booleans(),
    accept=st.sampled_from(MODES),
    leave=st.none() | st.integers(0, 12),
    pause=st.none() | st.integers(0, 6),
    cancel=st.none() | st.integers(0, 12),
    grace=st.sampled_from([0.0, 0.0003, 60.0]),
    heartbeat=st.sampled_from([None, 0.0004, 60.0]),
)
@settings(max_examples=250, deadline=None)
@on_virtual_clock
async def test_any_life(
    script: list[str],
    cleanup: int,
    stubborn: bool,
    accept: str,
    leave: int | None,
    pause: int | None,
    cancel: int | None,
    grace: float,
    heartbeat: float | None,
) -> None:
    life = Life(script, cleanup, stubborn)
    app = FastAPI()
    app.get("/", dependencies=[Depends(life.dependency)])(
        dual_mode(grace=grace, heartbeat=heartbeat, cleanup_timeout=0.1)(life.source)
    )
    before = asyncio.all_tasks()
    client = Client(app, accept=accept)
    if "wait" in script and cancel is None and leave is None:
        leave = 12
    task = asyncio.create_task(client.app(client.scope, client.receive, client.send))
    for turn in range(40):
        if turn == pause:
            client.pause()
        if turn == cancel:
            task.cancel()
        if turn == leave:
            client.leave()
        await asyncio.sleep(0)
    client.resume()
    error: BaseException | None = None
    try:
        async with asyncio.timeout(60):
            await asyncio.wait({task})
        task.result()
    except (asyncio.CancelledError, Exception) as raised:
        error = raised

    assert task.done(), "it hangs"
    case = (script, cleanup, stubborn, accept, leave, pause, cancel, grace, heartbeat)
    assert life.closed == life.started, case
    assert len(life.tasks) <= 1, "closed in another task than the one that ran it"
    if life.started:
        assert life.order == ["generator", "dependency"]
    for _ in range(5):
        await asyncio.sleep(0)
    assert not {left for left in asyncio.all_tasks() - before if not left.done()}

    scripted = "raise" in script
    if isinstance(error, asyncio.CancelledError):
        assert cancel is not None
    elif error is not None:
        assert scripted
        assert isinstance(error, KeyError | BrokenTransfer)
    if leave is None and cancel is None:
        await check_the_answer(client, life, scripted, error)


async def check_the_answer(
    client: Client, life: Life, scripted: bool, error: BaseException | None
) -> None:
    """What a client holds that has stayed to the end."""
    expected = list(range(1, life.made + 1))
    if isinstance(error, KeyError):
        assert not client.messages or client.status == 500
        return
    content_type = client.headers["content-type"]
    if content_type == "application/json":
        assert json.loads(client.body) == {"data": expected}
        assert not scripted
    elif content_type == "application/jsonl":
        assert [int(line) for line in client.body.splitlines()] == expected
        assert client.complete == (error is None) == (not scripted)
    else:
        *items, last = client.events
        assert [int(item.data) for item in items] == expected
        assert last.event == ("error" if scripted else "done")
        assert client.complete
