"""The table of docs/streamlit.md: the chat, and `st.write_stream` with an async generator."""

import statistics

import pytest

from .conftest import until
from .running import PYTHON, run_chat
from .test_chat import OBSERVE

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]

USUAL = """
import streamlit as st
from dual_mode_streaming.ui.sources import from_llm, llm_client

client = st.cache_resource(llm_client)()
if question := st.chat_input("Ask something", submit_mode="stop"):
    st.write_stream(from_llm(client, [{"role": "user", "content": question}]))
"""


@pytest.fixture(scope="module")
def usual(variables, tmp_path_factory):
    """An async generator passed to `st.write_stream`, with a cached client."""
    program = tmp_path_factory.mktemp("usual") / "usual.py"
    program.write_text(USUAL)
    flags = ["--server.port={port}", "--server.headless=true", "--server.fileWatcherType=none"]
    command = [str(PYTHON), "-m", "streamlit", "run", str(program), *flags]
    with run_chat(*command, "--browser.gatherUsageStats=false", fails=True, **variables) as url:
        yield url


def stops(chat, question, times=5):
    """Return how long each Stop takes."""
    found = []
    for _ in range(times):
        calls = len(chat.upstream.calls)
        chat.ask(question)
        until(lambda calls=calls: len(chat.upstream.calls) > calls)
        if question != "silent":
            until(lambda: chat.upstream.calls[-1].sent > 20)
        found.append(chat.stop())
    return found


def received(chat):
    """Return a counter of the bytes that the page receives on its WebSocket."""
    count = [0]

    def add(frame):
        count[0] += len(frame)

    chat.page.on("websocket", lambda socket: socket.on("framereceived", add))
    chat.page.reload()
    return count


def cost(chat):
    """Return the bytes for an answer of 2,000 words at 200 per second."""
    count = received(chat)
    chat.ask("say 2000 at 200")
    chat.sees("word1999 ?$")
    return count[0]


def test_the_table(talk, direct, by_service, recipe, usual, upstream, capsys):
    rows = {}
    for name, url in [("asked directly", direct), ("through the service", by_service)]:
        chat = talk(url)
        for question in ("say 5000 at 50", "silent"):
            when = "before the first word" if question == "silent" else "while it streams"
            found = stops(chat, question)
            rows[f"Stop to the provider, {name}, {when}"] = (
                f"{statistics.median(found):.2f} s (longest of 5: {max(found):.2f} s)"
            )
    found = stops(talk(recipe), "say 5000 at 50")
    rows["Stop to the provider, the stream held in a variable"] = (
        f"{statistics.median(found):.2f} s (longest of 5: {max(found):.2f} s)"
    )
    rows["requests still open at the provider after these 25"] = str(upstream.open)

    chat = talk(direct)
    for _ in range(3):
        chat.ask("say 10 at 50")
        chat.sees("word9 ?$")
    observed = chat.page.evaluate(OBSERVE)
    chat.ask("say 200 at 50")
    chat.sees("word9 ")
    chat.page.evaluate("mutations.attributes = 0")
    chat.sees("word150 ")
    changed = chat.page.evaluate("mutations")
    rows[f"DOM mutations in {observed} old messages, while another streams"] = str(
        changed["content"] + changed["attributes"]
    )
    ours = cost(talk(direct))
    rows["bytes to the page for 2,000 words in 10 s"] = f"{ours / 1e6:.2f} MB"

    chat = talk(usual)
    rows["the same, async generator to `st.write_stream`"] = f"{cost(chat) / 1e6:.2f} MB"
    before = upstream.open
    for _ in range(3):
        chat.page.reload()
        chat.ask("say 5000 at 50")
        chat.page.get_by_test_id("stChatInputStopButton").click()
        chat.page.wait_for_timeout(1500)
    rows["its requests still open 1.5 s after 3 Stops"] = str(upstream.open - before)
    with capsys.disabled():
        print()
        for name, value in rows.items():
            print(f"| {name} | {value} |")
    assert upstream.open - before >= 0
    assert changed == {"content": 0, "attributes": 0}
    assert rows["requests still open at the provider after these 25"] == "0"
