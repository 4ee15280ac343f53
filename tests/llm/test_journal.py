"""The journal of the simulator, in Python and over HTTP."""

import httpx
import pytest

from dual_mode_streaming.llm import (
    ChatRequest,
    Journal,
    LLMClient,
    LLMSettings,
    Reply,
    Script,
    Simulator,
    collect,
)
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings, SettingsError, load
from dual_mode_streaming.testing import StreamingTransport


async def test_a_test_asks_what_the_simulator_was_asked():
    script = Script(reply=(Reply(match="no"), Reply(match="weather", text="Sunny.")))
    simulator = Simulator(script=script)
    client = LLMClient(simulator)
    await collect(client.chat_completion("The weather?", temperature=0.5))
    await collect(client.chat_completion("Hello", stream=False))
    first, second = simulator.journal
    assert (first.number, first.reply, first.api) == (1, 1, None)
    assert first.body["temperature"] == 0.5
    assert (second.number, second.reply) == (2, None)
    simulator.journal.clear()
    assert len(simulator.journal) == 0


def test_it_is_bounded_in_number_and_bytes():
    journal = Journal(3)
    for number in range(5):
        journal.add(ChatRequest(messages=f"{number}"), None)
    assert [entry.number for entry in journal] == [3, 4, 5]
    journal = Journal(100, limit_bytes=5000)
    for size in (2000, 2000, 9000, 1):
        journal.add(ChatRequest(messages="x" * size), None)
    assert [entry.number for entry in journal] == [4]
    journal = Journal(0)
    journal.add(ChatRequest(messages="x"), None)
    assert list(journal) == []


@pytest.mark.parametrize("size", [0, 2])
async def test_it_is_there_over_http_only_where_a_setting_allows_it(size):
    settings = Settings(llm=LLMSettings(journal=size), api_keys=("a-key-of-ours-0123",))
    transport = StreamingTransport(create_app(settings))
    key = {"authorization": "Bearer a-key-of-ours-0123"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for number in range(3):
            body = {"model": "simulator", "max_tokens": 1, "theirs": number}
            body["messages"] = [{"role": "user", "content": "Hi"}]
            assert (await client.post("/v1/messages", json=body, headers=key)).status_code == 200
        answer = await client.get("/simulator/requests", headers=key)
        if not size:
            assert answer.status_code == 404
            return
        assert [entry["body"]["theirs"] for entry in answer.json()["data"]] == [1, 2]
        assert answer.json()["data"][0]["api"] == "anthropic"
        assert "a-key-of-ours" not in answer.text
        assert (await client.get("/simulator/requests")).status_code == 401
        assert (await client.delete("/simulator/requests", headers=key)).status_code == 204
        assert (await client.get("/simulator/requests", headers=key)).json() == {"data": []}


def test_several_workers_would_have_several_journals():
    with pytest.raises(SettingsError, match="DUAL_MODE_LLM_JOURNAL"):
        load(workers=2, store="sqlite:x.db", llm=LLMSettings(journal=5))
