"""Coding agents with a provider behind the service: thinking with tools, and no request refused."""

import asyncio

import pytest

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
