"""Tests of the chat by AppTest. They run in the environment that has Streamlit, not by pytest."""

import asyncio
import contextlib
import os
import sys
import threading
import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

from dual_mode_streaming.bridges import shared_loop
from dual_mode_streaming.bridges.streamlit import LiveText
from dual_mode_streaming.errors import SourceCancelled
from dual_mode_streaming.ui import _page as page

PAGE = Path(page.__file__)


def tasks():
    """Return how many tasks the shared loop has, without the one that counts."""

    async def count():
        return len(asyncio.all_tasks()) - 1

    return shared_loop().run(count())


async def words(count, pause=0.0, closed=None, error=None):
    try:
        for number in range(count):
            yield f"{number} "
            await asyncio.sleep(pause)
        if error:
            raise error
    finally:
        if closed is not None:
            closed.set()


def the_text_is_complete_and_arrives_in_few_pieces():
    start = time.monotonic()
    live = LiveText(words(400, pause=0.001))
    pieces = list(live)
    assert "".join(pieces) == live.text == "".join(f"{n} " for n in range(400))
    assert len(pieces) <= 20 * (time.monotonic() - start) + 2
    assert (live.status, live.error) == ("done", None)
    assert list(live) == [live.text]  # a second reader after the end


def an_error_comes_after_the_text():
    live = LiveText(words(2, error=ValueError("broken")))
    with contextlib.suppress(ValueError):
        list(live)
        raise AssertionError("no error")
    assert (live.text, live.status, str(live.error)) == ("0 1 ", "failed", "broken")


def an_early_exit_closes_the_stream():
    closed = threading.Event()
    live = LiveText(words(10**6, pause=0.01, closed=closed))
    for _piece in live:
        break
    assert closed.wait(60)
    assert (live.status, tasks()) == ("stopped", 0)


def a_stop_before_the_first_reader_starts_nothing():
    live = LiveText(words(3))
    live.stop()
    assert (list(live), live.status) == ([], "stopped")


def a_source_that_cancels_itself_has_failed():
    async def cancelled():
        yield "a"
        raise asyncio.CancelledError

    live = LiveText(cancelled())
    with contextlib.suppress(SourceCancelled):
        list(live)
        raise AssertionError("no error")
    assert (live.text, live.status) == ("a", "failed")


def the_chat_answers_and_has_no_duplicates():
    app = AppTest.from_file(str(PAGE), default_timeout=30).run()
    assert [title.value for title in app.title] == ["Dual-mode chat"]
    for question in ("Hello", "Again", "fails", "limited"):
        app.chat_input[0].set_value(question).run()
        assert not app.exception
    messages = app.session_state["messages"]
    assert len({message.id for message in messages}) == len(messages) == 8
    assert [message.role for message in messages] == ["user", "assistant"] * 4
    shown = [(m.name, *(part.value for part in m.markdown)) for m in app.chat_message]
    assert [role for role, *_ in shown] == ["user", "assistant"] * 4
    assert shown[1][1].startswith("You said: Hello")
    assert shown[3][1].startswith("You said: Again")
    assert shown[5][1] == "one two"
    assert [error.value for error in app.error] == ["a failure on purpose"] * 2
    drawn = [m.name for m in app.run().chat_message]
    assert len(drawn) == 8
    assert len(app.session_state["messages"]) == 8
    found = AppTest.from_file(str(PAGE), default_timeout=30)  # a reload: another session
    found.query_params["chat"] = app.query_params["chat"]
    assert len(found.run().chat_message) == len(drawn)
    assert tasks() == 0


def an_invalid_setting_is_reported():
    os.environ["DUAL_MODE_LLM_PROVIDER"] = "nobody"
    import streamlit

    streamlit.cache_resource.clear()
    app = AppTest.from_file(str(PAGE), default_timeout=30).run()
    app.chat_input[0].set_value("Hello").run()
    assert "DUAL_MODE_LLM_PROVIDER=nobody" in app.error[0].value


if __name__ == "__main__":
    for test in [
        the_text_is_complete_and_arrives_in_few_pieces,
        an_error_comes_after_the_text,
        an_early_exit_closes_the_stream,
        a_stop_before_the_first_reader_starts_nothing,
        a_source_that_cancels_itself_has_failed,
        the_chat_answers_and_has_no_duplicates,
        an_invalid_setting_is_reported,
    ]:
        test()
        print("passed:", test.__name__)
    sys.exit()
