"""Coding agents with a provider behind the service, and recorded: thinking with tools."""

import asyncio
import contextlib
import shutil

import pytest
from fastapi import FastAPI

from dual_mode_streaming.llm import LLMClient, Script, Simulator, llm_routes
from dual_mode_streaming.llm.simulator._recorder import Recorder
from dual_mode_streaming.testing import serving
from tests.conftest import run_service

from .agents.programs import Agent
from .agents.strict import FINAL, StrictAnthropic
from .agents.strict_openai import StrictOpenAI

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]  # the environments are to be made first

CLAUDE, GPT = "claude-opus-4-8", "gpt-5.4"
PAIRS = [
    ("claude-code", "anthropic", None),
    ("claude-agent-sdk", "anthropic", None),
    ("codex", "openai", None),
    ("codex", "anthropic", CLAUDE),
    ("codex", "chat only", None),
    ("codex", "chat only", GPT),
    ("claude-code", "openai", GPT),
    ("claude-agent-sdk", "openai", GPT),
]


@pytest.mark.parametrize(("name", "provider", "model"), PAIRS)
async def test_an_agent_thinks_with_tools_over_several_turns(name, provider, model, tmp_path):
    if provider == "anthropic":
        upstream, path = StrictAnthropic(), ""
    else:
        upstream, path = StrictOpenAI(has_responses=provider == "openai"), "/v1"
    async with serving(upstream, lifespan="off", log_level="critical") as url:
        of = "anthropic" if provider == "anthropic" else "openai"
        settings = {"DUAL_MODE_LLM_PROVIDER": of, "DUAL_MODE_LLM_BASE_URL": url + path}
        settings[f"{of.upper()}_API_KEY"] = "their-key"
        with run_service("--log-level", "error", **settings) as service:
            agent = Agent(name, service.url, tmp_path, model)
            upstream.reads = agent.call
            try:
                answer = await asyncio.to_thread(agent.ask, "Read the words in the files.")
            finally:
                assert upstream.refused == []
    assert answer == FINAL
    assert upstream.lost == []


@pytest.mark.parametrize("name", ["claude-code", "claude-agent-sdk", "codex"])
async def test_a_session_is_recorded_and_replayed(name, tmp_path):
    upstream = StrictOpenAI() if name == "codex" else StrictAnthropic()
    file, notes = tmp_path / "session.toml", []
    async with serving(upstream, lifespan="off", log_level="critical") as url:
        recorder = Recorder(url, file, notes.append)
        async with (
            contextlib.aclosing(recorder),
            serving(recorder, lifespan="off", log_level="critical", ws="none") as relay,
        ):
            agent = Agent(name, relay, tmp_path, key="their-key")
            upstream.reads = agent.call
            question = "Read the words in the files."
            assert await asyncio.to_thread(agent.ask, question) == FINAL
    assert notes
    assert all(note.endswith("recorded") for note in notes)
    assert "their-key" not in file.read_text("utf-8")

    simulator = Simulator(script=Script.load(file), any_model=True)
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(simulator)))
    for state in (".claude", ".codex"):
        shutil.rmtree(tmp_path / state, ignore_errors=True)
    async with serving(app, log_level="critical") as agent.url:
        assert await asyncio.to_thread(agent.ask, question) == FINAL
    assert [entry.reply for entry in simulator.journal] == list(range(len(notes)))
