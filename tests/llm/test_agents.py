"""Streams of other libraries' agents, read by `agent_events`, each in an environment of its own."""

from functools import cache
from pathlib import Path

import pytest

from tests.conftest import run_service
from tests.environments import document_of, environment

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]  # the environments are to be made first

HERE = Path(__file__).parent / "agents"
SCRIPT = """
[[reply]]
match = 'reminder>\\s*weather$'  # Claude Code adds words of its own before those of the user
text = "Let me see."
tool_calls = [{ name = "mcp__ours__weather", arguments = { city = "Paris" } }]

[[reply]]
match = "^weather$"
text = "Let me see."
tool_calls = [{ name = "weather", arguments = { city = "Paris" } }]

[[reply]]
match = "long$"
text = "one two three four five six seven eight"
"""

WAYS = {
    "openai-agents": ["chat", "responses", "events"],
    "pydantic-ai": ["events"],
    "langgraph": ["messages", "both", "updates", "values", "parts", "events"],
    "llama-index": ["run", "events"],
    "claude-agent-sdk": ["whole", "partial", "client"],
}
EACH = [(library, way) for library, ways in WAYS.items() for way in ways]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs the program of a library, once, and gives the document of what it saw."""
    script = tmp_path_factory.mktemp("agents") / "script.toml"
    script.write_text(SCRIPT)
    settings = {"SCRIPT": str(script), "FIRST": "0", "RATE": "200", "ANY_MODEL": "1"}
    variables = {f"DUAL_MODE_LLM_{name}": value for name, value in settings.items()}
    with run_service("--log-level", "error", **variables) as service:

        @cache
        def run(library):
            home = environment(f"agents-{library}", HERE / f"{library}.txt")
            program = HERE / f"ask_{library}.py"
            return document_of([home / "bin" / "python", program, service.url], home)

        yield run


@pytest.fixture(params=EACH, ids="-".join)
def seen(request, run):
    """What a way to stream gave."""
    library, way = request.param
    return run(library)[way]


def test_an_agents_answer_is_one_answer(seen):
    answer = seen["agent"]
    [[name, arguments]] = answer["calls"]
    assert name in ("weather", "mcp__ours__weather")
    assert arguments == {"city": "Paris"}
    [(called, result)] = answer["results"]
    assert called == answer["ids"][0]
    assert result == "sunny at noon in Paris"
    assert answer["text"].startswith("Let me see.")
    assert answer["text"].count("sunny at noon in Paris") == 1
    assert answer["text"].count("Let me see.") == 1
    assert answer["reason"] == "stop"
    assert min(answer["usage"]) > 0


def test_the_text_is_that_of_the_events_with_a_blank_line_at_the_tool(seen):
    answer = seen["agent"]
    assert answer["as_text"].startswith("Let me see.\n\n")
    assert answer["as_text"].replace("Let me see.\n\n", "Let me see.", 1) == answer["text"]


OWNED = [each for each in EACH if each != ("llama-index", "events")]  # that stream owns no run


@pytest.mark.parametrize(("library", "way"), OWNED)
def test_nothing_runs_on_when_the_stream_is_left(library, way, run):
    assert run(library)[way]["left"] == []
