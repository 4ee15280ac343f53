"""No test may leave a task behind: what a response starts, it ends."""

import asyncio

import pytest


@pytest.fixture(autouse=True)
async def no_task_left():
    before = asyncio.all_tasks()
    yield
    for _ in range(5):  # what is being cancelled takes a turn of the loop to end
        await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    left.discard(asyncio.current_task())
    assert not left, f"tasks left behind: {left}"
