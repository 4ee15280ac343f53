"""The checks of exercise 9: one channel an order, repeated requests, a page that was away."""

from typing import Any

import httpx
from exercises.checks.task import Task

from dual_mode_streaming.testing import read_events

AT = "board"
READ = "examples/17_channels.py, and docs/channels.md"
HINTS = (
    """
Both endpoints use the same channel, so it is created once, outside of them. The channel keeps the
messages and gives them their ids. The endpoint of the page needs no loop and no `yield`.
""",
    """
`Channel("orders/{id}", str)` has a channel for each id: `publish(state, id=id)` publishes, and
`subscribe(id=id)` is the stream. `publish` has a parameter `key`; `close(id=id)` ends the readers.
""",
    """
orders = Channel("orders/{id}", str)

cursor = await orders.publish(state, id=..., key=...)
if state == "delivered":
    await orders.close(...)

def board(id: int) -> AsyncIterator[str]:
    return orders.subscribe(...)
""",
)


async def check(it: Any, task: Task) -> None:
    async with task.client(it.app) as client:

        async def change(state: str, key: str, order: int = 7) -> str:
            """Change the state as a worker does; return the status if it is an error."""
            headers = {"Idempotency-Key": key}
            answer = await client.post(f"/orders/{order}/{state}", headers=headers)
            return "" if answer.status_code == 200 else f"status {answer.status_code}"

        task.aim("a page gets a change", "packed")
        refused = await change("packed", "packer 1")
        task.found(refused or await read(client, 7, most=1))

        task.aim("a page sees the changes of its own order only", "order 7 packed, order 8 loaded")
        await change("loaded", "packer 2", order=8)
        seen = [f"order {n} {await read(client, n, most=1)}" for n in (7, 8)]
        task.found(", ".join(seen))

        task.aim("a page that was away gets what it missed, once and in order", "loaded, sent")
        ids: list[str] = []
        await read(client, 7, most=1, ids=ids)
        await change("loaded", "packer 3")
        await change("sent", "driver 1")
        task.found(await read(client, 7, most=2, last=ids[-1]))

        task.aim("a repeated request with the same key adds nothing", "packed, loaded, sent")
        await change("sent", "driver 1")
        task.found(await document(client, 7))

        task.aim('after "delivered" the stream ends', "packed, loaded, sent, delivered, (done)")
        await change("delivered", "driver 2")
        task.found(await read(client, 7))

        task.aim("the document has all changes", "packed, loaded, sent, delivered")
        task.found(await document(client, 7))


async def document(client: httpx.AsyncClient, order: int) -> str:
    answer = await client.get(f"/orders/{order}")
    return ", ".join(answer.json()["data"]) if answer.is_success else f"status {answer.status_code}"


async def read(
    client: httpx.AsyncClient,
    order: int,
    most: int = 99,
    last: str = "",
    ids: list[str] | None = None,
) -> str:
    """Return what a page receives, up to `most` events; add their ids to `ids`."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    seen: list[str] = []
    async with client.stream("GET", f"/orders/{order}", headers=headers) as answer:
        if answer.status_code != 200:
            return f"status {answer.status_code}"
        async for event in read_events(answer):
            seen.append(f"({event.event})" if event.event else event.data.strip('"'))
            if ids is not None:
                ids.append(event.id or "")
            if len(seen) == most:
                break
    return ", ".join(seen) or "nothing"
