"""The page of `dual-mode ui`. Streamlit runs this file from the top at every input."""

import os
import threading
from importlib import import_module
from typing import Any

from dual_mode_streaming.bridges.streamlit import LiveText
from dual_mode_streaming.ui._chats import AnswerSource, Chats, DisplayedMessage
from dual_mode_streaming.ui._markdown import pieces_without_links, without_links
from dual_mode_streaming.ui.sources import from_llm, from_service, llm_client, service_client

_STOPPED = ":material/stop_circle: Stopped"
_STYLE = """<style>
.st-key-if-stopped { display: none }
[data-test-script-state="notRunning"] .st-key-if-stopped { display: flex }
</style>"""


def page() -> None:
    """Draw the chat, and the answer as it streams."""
    import streamlit as st

    st.set_page_config(page_title="Dual-mode chat", page_icon=":material/forum:")
    st.cache_resource(_load_early, show_spinner=False)()
    chats = st.cache_resource(Chats, show_spinner=False)()
    chat = chats.find(st.query_params.get("chat"))
    if st.query_params.get("chat") != chat.id:
        st.query_params["chat"] = chat.id  # a reload finds the chat by it
    st.session_state["messages"] = chat.messages
    url = os.environ.get("DUAL_MODE_UI_URL", "")
    with st.sidebar:
        answers = ["The service"] * bool(url) + ["The model"]
        answered_by = st.radio("Answered by", answers, key="who")
        st.caption(f"The service at {url}" if answered_by == "The service" else "Called directly")

    # Drawn before the answer, because it contains the stop button.
    question = st.chat_input("Ask something", key="question", submit_mode="stop")
    if question:
        chat.ask(question, _service(st, url) if answered_by == "The service" else _model(st))
    elif not chat.messages:
        st.title("Dual-mode chat")
    for message in chat.messages:
        _draw(st, message, joins=not question)


def _load_early() -> None:
    """Load pandas now. Streamlit would load it when it first writes a stream."""
    threading.Thread(target=import_module, args=("pandas",), daemon=True).start()


def _service(st: Any, url: str) -> AnswerSource:
    """Return answers of the service, through one client for all sessions."""
    client = st.cache_resource(service_client, show_spinner=False)(
        url, os.environ.get("DUAL_MODE_UI_KEY")
    )
    return lambda messages: from_service(client, messages)


def _model(st: Any) -> AnswerSource:
    """Return answers of the model that the settings name."""
    try:
        client = st.cache_resource(llm_client, show_spinner=False)()
    except ValueError as error:
        st.error(str(error))
        st.stop()
    return lambda messages: from_llm(client, messages)


def _draw(st: Any, message: DisplayedMessage, *, joins: bool) -> None:
    """Draw one message, in the same elements whether its text is complete or streaming."""
    with st.chat_message(message.role):
        text, below, stop = st.container(), st.empty(), st.empty()
        if message.live is not None and message.live.is_live:
            _stream(st, message, message.live, text, below, stop if joins else None)
        else:
            text.markdown(without_links(message.text))
        if message.error:
            below.error(without_links(message.error), icon=":material/error:")
        elif message.status == "stopped":
            below.caption(_STOPPED)


def _stream(
    st: Any, message: DisplayedMessage, live: LiveText, text: Any, below: Any, stop: Any
) -> None:
    """Draw a message whose text is still streaming.

    A stopped script cannot draw. So the mark "Stopped" is drawn before the text, and a style shows
    it only while no script runs.
    """
    with below.container(key="if-stopped"):
        st.html(_STYLE)
        st.caption(_STOPPED)
    if stop is not None:  # after a reload the input has no stop button
        stop.button("Stop", key="stop", icon=":material/stop_circle:", on_click=live.stop)
    try:
        with text:
            st.write_stream(pieces_without_links(live))
    except Exception:
        if message.error is None:  # else `_draw` shows the error
            raise
    below.empty()
    if stop is not None:
        stop.empty()


if __name__ == "__main__":
    page()
