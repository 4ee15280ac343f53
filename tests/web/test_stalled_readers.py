"""A reader that is slow or stalls, and a server whose send or receive fails."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dual_mode_streaming import BrokenTransfer

from .asgi import Client, on_virtual_clock
from .witness import Witness, app_of, busy, idle, silent


async def test_a_backpressured_generator_is_closed_too():
    witness = Witness()
    client = Client(app_of(busy(witness)))
    client.pause()
    async with client.running():
        await client.blocked.wait()
        client.leave()
    assert witness.log == ["exit", "closed"]
    assert len(witness.tasks) == 1


async def test_backpressure_pauses_the_generator():
    made = 0

    async def source() -> AsyncIterator[str]:
        nonlocal made
        while True:
            made += 1
            yield "x" * 1000

    client = Client(app_of(source))
    client.pause()
    async with client.running():
        await client.blocked.wait()
        seen = made
        for _ in range(100):
            await asyncio.sleep(0)
        assert made == seen <= 40
        client.leave()


@pytest.mark.parametrize("accept", ["text/event-stream", "application/jsonl"])
@on_virtual_clock
async def test_a_reader_that_stalls_frees_the_generator_and_is_cut(accept):
    witness, aborted = Witness(), []
    client = Client(
        app_of(busy(witness), send_timeout=0.02),
        accept=accept,
        extensions={"dual_mode.abort": lambda: aborted.append(1)},
    )
    client.pause()
    await client.run()
    assert witness.log == ["exit", "closed"]
    assert aborted == [1]


@on_virtual_clock
async def test_without_a_way_to_abort_the_response_breaks():
    witness = Witness()
    client = Client(app_of(busy(witness), send_timeout=0.02))
    client.pause()
    with pytest.raises(BrokenTransfer):
        await client.run()
    assert witness.log == ["exit", "closed"]


@on_virtual_clock
async def test_a_stalled_reader_of_an_idle_stream_is_found_by_the_heartbeat():
    witness, aborted = Witness(), []
    client = Client(
        app_of(idle(witness), send_timeout=0.02, heartbeat=0.01),
        extensions={"dual_mode.abort": lambda: aborted.append(1)},
    )
    async with client.running():
        await client.until(b"data: 1\n")
        client.pause()
    assert aborted == [1]
    assert witness.log == ["cancelled", "closed"]


async def test_a_server_whose_send_raises_has_lost_its_client():
    witness = Witness()
    client = Client(app_of(busy(witness)))

    async def send(message: dict[str, Any]) -> None:
        if len(client.messages) > 3:
            raise OSError("gone")
        client.messages.append(message)

    client.send = send
    await client.run()
    assert witness.log[-1] == "closed"


@pytest.mark.parametrize("grace", [0, 0.01])
@on_virtual_clock
async def test_a_heartbeat_or_head_that_cannot_be_sent_ends_the_stream(grace, caplog):
    """By a middleware of the app's, say, that fails."""
    witness = Witness()
    client = Client(app_of(silent(witness), grace=grace, heartbeat=0.01))

    async def send(message: dict[str, Any]) -> None:
        failing = not client.messages if grace else len(client.messages) == 2
        client.messages.append(message)
        if failing:
            raise ValueError("on purpose")

    client.send = send
    await client.run()
    assert witness.log == ["cancelled", "closed"]
    assert "headers or a heartbeat of a stream could not be sent" in caplog.text
    assert "on purpose" in caplog.text
