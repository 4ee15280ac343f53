"""`dual-mode.js` with the service: the law, a resumed position, and a stop."""

import json

import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="package")

HELLO = {"messages": "one two three", "seed": 3}


def text_of(seen):
    return "".join(
        json.loads(data).get("text_delta", {}).get("content", "") for _, data, _ in seen.items
    )


async def test_a_chat_is_what_its_batch_says_and_can_be_followed_from_anywhere(service, node):
    seen = await node.follow(f"{service}/chat", body=HELLO)
    assert (seen.end, seen.error) == ("done", None)
    async with httpx.AsyncClient() as http:
        batch = (await http.post(f"{service}/chat", json=HELLO)).json()
    assert text_of(seen) == batch["message"]["content"]
    again = await node.follow(seen.location)
    assert again.items == seen.items
    rest = await node.follow(seen.location, lastEventId=seen.items[3][2])
    assert rest.items == seen.items[4:]
    over = await node.follow(seen.location, lastEventId=seen.lastEventId)
    assert (over.items, over.end) == ([], "no-content")


async def test_a_stop_ends_the_answer(service, node):
    seen = await node.follow(f"{service}/chat", body=HELLO, stopAt=1)
    assert (seen.end, seen.stopped["state"]) == ("cancelled", "cancelled")
    assert (await node.follow(seen.location)).end == "cancelled"


async def test_what_is_not_there_is_refused(service, node):
    seen = await node.follow(f"{service}/streams/{'0' * 32}")
    assert (seen.error["status"], seen.waits) == (404, [])
    seen = await node.follow(f"{service}/chat", body={"messages": []})
    assert seen.error["status"] == 422


async def test_the_service_has_the_module(service):
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{service}/dual-mode.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "export function follow" in answer.text
    assert len(answer.text.splitlines()) < 200


async def test_a_channel_is_followed_to_its_end(service, node):
    url = f"{service}/channels/of-the-page"
    async with httpx.AsyncClient() as http:
        await http.put(url, headers={"Content-Type": "application/json"})
        await http.post(url, json=[{"n": 1}, {"n": 2}], headers={"Stream-Closed": "true"})
    seen = await node.follow(url)
    assert ([json.loads(data)["n"] for data in seen.data], seen.end) == ([1, 2], "done")
    rest = await node.follow(url, lastEventId=seen.items[0][2])
    assert rest.items == seen.items[1:]
