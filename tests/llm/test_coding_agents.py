"""Coding agents, unmodified and with default settings, against the service with the simulator.

Each session gets text, tools, an image, refusals and cuts as the script says, goes on after them,
and ends with the scripted answer.
"""

import json

import httpx
import pytest

from tests.conftest import run_service

from .agents.programs import NAMES, Agent

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]  # the environments are to be made first

FAILURES = {
    "refused with 429": {"status": 429, "retry_after": 1, "times": 1},
    "refused with 529": {"status": 529, "times": 2},
    "refused with 500": {"status": 500, "times": 1},
    "overloaded in the stream": {"after_tokens": 2, "error_type": "overloaded", "times": 1},
    "cut in the text": {"after_tokens": 2, "cut": True, "times": 1},
    "cut at once": {"cut": True, "times": 1},
}


def replies(agent):
    """The script. The agents put words of their own before those of the user."""
    one, two, image = (agent.call(name) for name in ("one.txt", "two.txt", "red.png"))
    yield {"match": "papaya", "text": "The second is papaya."}
    yield {"match": "kumquat", "text": "The first is kumquat."}
    yield {"match": r"\[image/png, \d+ bytes\]", "text": "It is red."}
    yield {"match": "read one$", "text": "Let me look.", "tool_calls": [one]}
    yield {"match": "read two$", "thinking": "Both.", "text": "Two.", "tool_calls": [one, two]}
    yield {"match": "look$", "tool_calls": [image]}
    for name, failure in FAILURES.items():
        yield {"match": f"{name}$", "text": f"At last: {name}.", "failure": failure}
    cut = {"after_tokens": 9, "cut": True, "times": 1}
    yield {"match": "cut in a call$", "text": "Look.", "tool_calls": [one], "failure": cut}
    cut = {"after_tokens": 3, "cut": True, "times": 1}
    yield {"match": "cut in thinking$", "thinking": "a b c d e", "text": "Done.", "failure": cut}
    yield {"match": "greet$", "text": "Hello from the script."}
    yield {"match": "and now$", "text": "Still here."}


def toml(value):
    """A value in a line of TOML."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {toml(item)}' for name, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)


@pytest.fixture(scope="module", params=NAMES)
def agent(request, tmp_path_factory):
    home = tmp_path_factory.mktemp(request.param)
    made = Agent(request.param, "", home)
    made.command("warm")  # makes its environment
    script = home / "script.toml"
    tables = [[f"{n} = {toml(v)}" for n, v in reply.items()] for reply in replies(made)]
    script.write_text("".join("[[reply]]\n" + "\n".join(lines) + "\n\n" for lines in tables))
    settings = {"SCRIPT": str(script), "ANY_MODEL": "1", "FIRST": "0", "RATE": "0"}
    settings["JOURNAL"] = "1000"
    variables = {f"DUAL_MODE_LLM_{name}": value for name, value in settings.items()}
    with run_service("--log-level", "error", **variables) as service:
        made.url = service.url
        yield made


@pytest.fixture
def requests(agent):
    """Asks for the bodies of the requests of the session so far; titles of sessions left out."""

    def requests():
        entries = httpx.get(f"{agent.url}/simulator/requests").json()["data"]
        return [e["body"] for e in entries if "Write the title" not in json.dumps(e["body"])]

    httpx.delete(f"{agent.url}/simulator/requests")
    return requests


def last(body):
    """What the last message of a request says, as JSON."""
    messages = body.get("input") or body["messages"]
    return json.dumps(messages[-2:])


def test_text(agent, requests):
    assert agent.ask("greet") == "Hello from the script."
    assert len(requests()) == 1
    assert agent.ask("and now", goes_on=True) == "Still here."
    assert "Hello from the script." in json.dumps(requests()[-1])


def test_a_tool(agent, requests):
    assert agent.ask("read one") == "The first is kumquat."
    assert "kumquat" in last(requests()[1])


def test_parallel_tools(agent, requests):
    answers = ("The second is papaya.", "The first is kumquat.")
    assert agent.ask("read two") in answers  # the last result counts: an agent may finish either
    assert "kumquat" in last(requests()[1])
    assert "papaya" in last(requests()[1])
    assert agent.ask("and now", goes_on=True) == "Still here."


def test_an_image_and_the_session_goes_on(agent, requests):
    assert agent.ask("look") == "It is red."
    assert agent.ask("and now", goes_on=True) == "Still here."
    assert "iVBORw0KGgo" in json.dumps(requests()[-1])


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_is_tried_again_by_the_agent(agent, requests, name):
    assert agent.ask(name) == f"At last: {name}."
    assert len(requests()) == 1 + FAILURES[name]["times"]
    if name in ("refused with 529", "cut in the text"):
        assert agent.ask("and now", goes_on=True) == "Still here."


@pytest.mark.parametrize(
    ("name", "answer"), [("cut in a call", "The first is kumquat."), ("cut in thinking", "Done.")]
)
def test_a_cut_in_anything_else_is_no_end_either(agent, requests, name, answer):
    assert agent.ask(name) == answer
    assert len(requests()) > 1
