"""No test may leave a task behind: what a response starts, it ends."""

import asyncio

import pytest


@pytest.fixture(autouse=True)
async def no_task_left():
    before = asyncio.all_tasks()
    yield
    for _ in range(20):  # what is being cancelled takes a turn of the loop or two to end
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not left:
            return
    assert not left, f"tasks left behind: {left}"
