"""The clients of front ends, in Node, against two workers of the service on one store."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import run_service
from tests.environments import document_of, environment

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]  # the environment is to be made first

HERE = Path(__file__).parent / "frontends"
LONG = " ".join(f"word{number}" for number in range(60))
SCRIPT = f"""
[[reply]]
match = "short"
thinking = "Well."
text = "A short answer."

[[reply]]
match = "weather"
text = "Let me see."
tool_calls = [{{ name = "weather", arguments = {{ city = "Oslo" }} }}]

[[reply]]
match = "limited"
failure = {{ status = 429, retry_after = 99 }}

[[reply]]
match = "breaks"
text = "one two three"
failure = {{ after_tokens = 2, error_type = "overloaded" }}

[[reply]]
match = "long"
text = "{LONG}"
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What the clients ended with."""
    home = environment("frontends", HERE / "package.json", HERE / "package-lock.json")
    folder = tmp_path_factory.mktemp("frontends")
    (folder / "script.toml").write_text(SCRIPT)
    settings = {"SCRIPT": str(folder / "script.toml"), "FIRST": "0", "RATE": "60"}
    variables = {f"DUAL_MODE_LLM_{name}": value for name, value in settings.items()}
    store = ("--store", f"sqlite:{folder / 'file'}", "--log-level", "error")
    with ExitStack() as stack:
        one, other = (stack.enter_context(run_service(*store, **variables)) for _ in range(2))
        found = {}
        for name in ("ask.mjs", "older.mjs"):
            (home / name).write_text((HERE / name).read_text())
            found |= document_of(["node", home / name, one.url, other.url], home)
        return found


def answers(chat):
    return [message for message in chat["messages"] if message["role"] == "assistant"]


def text(message):
    return "".join(part.get("text", "") for part in message["parts"] if part["type"] == "text")


def test_usechat_shows_a_whole_answer(seen):
    chat = seen["short"]
    assert (chat["status"], chat["error"], chat["isAbort"]) == ("ready", None, False)
    (answer,) = answers(chat)
    assert [part["type"] for part in answer["parts"]] == ["step-start", "reasoning", "text"]
    assert text(answer) == "A short answer."
    assert answer["tokens"]
    assert all(part.get("state", "done") == "done" for part in answer["parts"])


def test_usechat_shows_the_call_of_a_tool(seen):
    (answer,) = answers(seen["weather"])
    call = answer["parts"][-1]
    assert (call["type"], call["state"]) == ("tool-weather", "input-available")
    assert call["input"] == {"city": "Oslo"}


@pytest.mark.parametrize("name", ["limited", "breaks"])
def test_usechat_shows_a_failure(seen, name):
    chat = seen[name]
    assert chat["status"] == "error"
    assert chat["error"]
    assert chat["isError"]


@pytest.mark.parametrize("version", ["ai5", "ai6"])
def test_older_versions_of_the_sdk_read_and_resume(seen, version):
    ends = seen[version]
    assert [part["type"] for part in ends["short"]["parts"]] == ["step-start", "reasoning", "text"]
    assert text(ends["short"]).endswith("A short answer.")
    call = ends["weather"]["parts"][-1]
    assert (call["state"], call["input"]) == ("input-available", {"city": "Oslo"})
    assert len(ends["breaks"]["errors"]) == 1
    assert text(ends["long"]) == LONG
    assert ends["joined"] == ends["long"]
    assert ends["later"] is None


def test_a_page_that_is_reloaded_in_mid_answer_shows_it_once_and_whole(seen):
    before, page = seen["reloaded"]["chat"], seen["reloaded"]["page"]
    assert answers(page) == answers(before)
    assert len(answers(page)) == 1
    assert text(answers(page)[0]) == LONG
    assert page["status"] == "ready"
    assert seen["reloaded"]["later"]["messages"] == before["messages"]


def test_a_stop_by_another_worker_ends_the_answer_as_stopped(seen):
    assert seen["stopped"]["stopped"] is True
    assert seen["stopped"]["words"] < 60
    chat = seen["stopped"]["chat"]
    assert (chat["status"], chat["error"]) == ("ready", None)
    assert text(answers(chat)[-1]) == "A short answer."


def test_an_answer_is_made_again_in_its_place(seen):
    (answer,) = answers(seen["regenerated"]["chat"])
    assert answer["id"] != seen["regenerated"]["first"]


def test_an_ag_ui_client_takes_a_run_as_valid(seen):
    run = seen["agui"]["short"]
    assert run["error"] is None
    assert run["events"][0] == "RUN_STARTED"
    assert run["events"][-1] == "RUN_FINISHED"
    assert [m["content"] for m in run["messages"] if m["role"] == "assistant"] == [
        "A short answer."
    ]
    (message,) = [m for m in seen["agui"]["weather"]["messages"] if m.get("toolCalls")]
    (call,) = message["toolCalls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert seen["agui"]["breaks"]["events"][-1] == "RUN_ERROR"


def test_an_ag_ui_client_sees_a_stop_as_cancelled_and_a_refusal_as_an_error(seen):
    assert seen["aguiStopped"] == {"outcome": "cancelled", "stopped": True}
    assert seen["aguiLimited"]["error"].startswith("HTTP 429: ")
    assert '"type":"RUN_ERROR"' in seen["aguiLimited"]["error"]


def test_a_tanstack_client_goes_on_after_a_cut_and_joins(seen):
    assert seen["tanstack"]["got"] == {"whole": LONG, "last": "RUN_FINISHED"}
    assert seen["tanstack"]["joined"] == {"whole": LONG, "last": "RUN_FINISHED"}
    first, second = seen["tanstack"]["posts"]
    assert (first["after"], second["method"]) == (None, "POST")
    assert second["after"]
