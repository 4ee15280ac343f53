"""The chat in a real Chromium and in AppTest: Stop, reload, and no repeated drawing."""

import os
import subprocess

import pytest
from playwright.sync_api import expect

from tests.conftest import ROOT

from .running import PYTHON, needs_streamlit

SCRIPT = """
[[reply]]
match = "fails"
text = "one two three"
failure = { after_tokens = 2 }

[[reply]]
match = "limited"
failure = { status = 401 }
"""
OBSERVE = """() => {
    window.mutations = {content: 0, attributes: 0};
    const observer = new MutationObserver(records => records.forEach(record =>
        mutations[record.type === "attributes" ? "attributes" : "content"]++));
    const all = {childList: true, subtree: true, characterData: true, attributes: true};
    const messages = document.querySelectorAll('[data-testid="stChatMessage"]');
    messages.forEach(message => observer.observe(message, all));
    return messages.length;
}"""


def test_in_the_environment_of_streamlit(tmp_path):
    needs_streamlit()
    (tmp_path / "script.toml").write_text(SCRIPT)
    settings = {"SCRIPT": str(tmp_path / "script.toml"), "FIRST": "0", "RATE": "0"}
    variables = {f"DUAL_MODE_LLM_{name}": value for name, value in settings.items()}
    answer = subprocess.run(
        [PYTHON, ROOT / "tests" / "ui" / "app_tests.py"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("passed: ") == 7
    assert "never awaited" not in answer.stderr
    assert "never retrieved" not in answer.stderr


def test_it_answers_stops_and_draws_nothing_twice(talk, direct, upstream):
    chat = talk(direct)
    messages = chat.page.get_by_test_id("stChatMessage")
    chat.ask("say 10 at 50")
    chat.sees("word9 ?$")
    expect(chat.page.get_by_test_id("stChatInputStopButton")).to_have_count(0)
    assert chat.page.evaluate(OBSERVE) == 2
    chat.ask("say 5000 at 50")
    chat.sees("word9 ")
    chat.page.evaluate("mutations.attributes = 0")  # a run first marks all elements as stale
    expect(chat.page.get_by_text("Stopped")).to_be_hidden()
    chat.sees("word40 ")
    assert chat.page.evaluate("mutations") == {"content": 0, "attributes": 0}
    assert chat.stop() < 0.5
    expect(chat.page.get_by_text("Stopped")).to_be_visible()
    chat.ask("silent")
    until_asked(upstream, "silent")
    assert chat.stop() < 0.5
    expect(chat.page.get_by_text("Stopped")).to_have_count(2)
    chat.ask("break")
    chat.sees("broken on purpose")
    assert chat.page.evaluate("mutations.content") == 0  # in the first two messages, of eight
    assert messages.count() == 8
    assert upstream.open == 0
    assert len(upstream.calls[-1].messages) >= 5  # the stopped answer is sent, too


@pytest.mark.full
@pytest.mark.timeout(120)
def test_through_the_service_a_reload_joins_and_stop_stops(talk, by_service, upstream):
    chat = talk(by_service)
    chat.ask("say 100 at 30")
    chat.sees("word9 ")
    calls = len(upstream.calls)
    chat.page.reload()
    chat.sees("word40 ")
    assert upstream.open == 1
    chat.sees("word99 ?$")
    assert len(upstream.calls) == calls
    assert not upstream.calls[-1].left
    assert chat.page.get_by_test_id("stChatMessage").count() == 2
    chat.ask("silent")
    until_asked(upstream, "silent")
    assert chat.stop() < 0.5
    expect(chat.page.get_by_text("Stopped")).to_be_visible()
    chat.ask("refuse")
    chat.sees("refused on purpose")


@pytest.mark.full
def test_the_recipe_stops_even_if_a_variable_holds_the_stream(talk, recipe, upstream):
    chat = talk(recipe)
    for question in ("say 3 at 50", "say 4 at 50"):  # the second uses the same loop
        chat.ask(question)
        chat.sees(f"word{int(question[4]) - 1} ?$")
    chat.ask("say 5000 at 50")
    chat.sees("word9 ")
    assert chat.stop() < 0.5
    assert upstream.open == 0


def until_asked(upstream, question):
    from .conftest import until

    until(lambda: upstream.calls[-1].question == question)
