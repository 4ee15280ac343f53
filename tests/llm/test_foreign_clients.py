"""Foreign clients, each in an environment of its own, against the service: what they fold from a
stream is what they get at once, and a failure is never an answer."""

import json
from functools import cache

import pytest

from tests.conftest import run_service
from tests.environments import document_of

from .foreign.environments import command_of

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]  # the environments are to be made first

SCRIPT = """
[[reply]]
match = "think"
thinking = "First this, then that."
text = "Thought."

[[reply]]
match = "two calls"
text = "Calling."
tool_calls = [
    { name = "weather", arguments = { city = "Paris", note = "naïve \\u2028 “quotes”" } },
    { name = "time", arguments = "{}" },
]

[[reply]]
match = "lines"
text = "a\\u2028b\\u2029c\\u0085d\\r\\ne\\nf\\u0000g 🎈 100%"

[[reply]]
match = "long"
text = "Once upon a"
finish_reason = "length"

[[reply]]
match = "refuses"
text = "No."
finish_reason = "content_filter"

[[reply]]
match = "limited"
failure = { status = 429, retry_after = 99 }

[[reply]]
match = "overloaded"
failure = { status = 529, retry_after = 99 }

[[reply]]
match = "breaks"
text = "one two three"
failure = { after_tokens = 2, error_type = "overloaded" }

[[reply]]
match = "torn"
text = "one two three"
failure = { after_tokens = 2, cut = true }
"""

ANSWERED = ["Hello", "please think", "two calls", "lines", "long", "refuses"]
REFUSED = ["limited", "overloaded"]
BROKEN = ["breaks", "torn"]
QUESTIONS = {
    **{question: ["batch", "stream"] for question in ANSWERED + REFUSED},
    **{question: ["stream"] for question in BROKEN},  # at once, the service would try again
}

CLIENTS = {
    "litellm": ["openai", "anthropic"],
    "langchain": ["openai", "anthropic"],
    "pydantic-ai": ["openai", "anthropic"],
    "vercel": ["openai", "compatible", "anthropic"],
}
EACH = [(client, wire) for client, formats in CLIENTS.items() for wire in formats]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a client, once, and gives the document of what it saw."""
    script = tmp_path_factory.mktemp("llm") / "script.toml"
    script.write_text(SCRIPT)
    settings = {"SCRIPT": str(script), "FIRST": "0", "RATE": "0"}
    variables = {f"DUAL_MODE_LLM_{name}": value for name, value in settings.items()}
    with run_service("--log-level", "error", **variables) as service:

        @cache
        def run(client):
            command, home = command_of(client)
            return document_of([*command, service.url, json.dumps(QUESTIONS)], home)

        yield run


@pytest.fixture(params=EACH, ids="-".join)
def client(request):
    return request.param


@pytest.fixture
def received(client, run):
    """What a client received in a wire format."""
    name, wire = client
    return run(name)[wire]


@pytest.mark.parametrize("question", ANSWERED)
def test_a_stream_folds_to_the_batch(received, question):
    assert "error" not in received[question]["batch"]
    assert received[question]["stream"] == received[question]["batch"]
    assert min(received[question]["stream"]["usage"]) > 0


def test_what_is_said_comes_through(received, client):
    assert received["Hello"]["stream"]["text"].startswith("You said: Hello\n\n")
    assert received["lines"]["stream"]["text"] == "a\u2028b\u2029c\u0085d\r\ne\nf\0g 🎈 100%"
    # The clients made for OpenAI alone know no thinking in chat completions.
    deaf = [("langchain", "openai"), ("vercel", "openai")]
    thinking = "" if client in deaf else "First this, then that."
    assert received["please think"]["stream"]["thinking"] == thinking


def test_tool_calls_come_through(received):
    assert received["two calls"]["stream"]["calls"] == [
        ["weather", {"city": "Paris", "note": "naïve \u2028 “quotes”"}],
        ["time", {}],
    ]
    assert "sunny at noon" in received["round"]


def test_how_it_ended_comes_through(received):
    reasons = {question: received[question]["stream"]["reason"] for question in ANSWERED}
    assert reasons["Hello"] in ("stop", "end_turn")
    assert reasons["two calls"] in ("tool_calls", "tool-calls", "tool_call", "tool_use")
    assert reasons["long"] in ("length", "max_tokens")
    assert reasons["refuses"] in ("content_filter", "content-filter", "refusal")


@pytest.mark.parametrize("mode", ["batch", "stream"])
def test_a_refusal_has_its_class_and_status(received, client, mode):
    limited, overloaded = received["limited"][mode], received["overloaded"][mode]
    assert limited["status"] == 429
    assert "RateLimit" in limited["error"] or client[0] == "vercel"  # it has one class for all
    assert overloaded["status"] in (529, 500)  # LiteLLM makes it a 500


@pytest.mark.parametrize("question", BROKEN)
def test_what_breaks_in_the_stream_is_an_exception(received, question):
    assert received[question]["stream"]["error"]
    with_reason = "on purpose" in received[question]["stream"]["message"]
    assert with_reason or question == "torn"  # then the transfer itself breaks off


@pytest.mark.parametrize("name", CLIENTS)
def test_every_wire_format_of_a_client_is_compared(run, name):
    assert list(run(name)) == CLIENTS[name]
