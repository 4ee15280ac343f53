"""The page of `dual-mode ui`: Streamlit runs this file from its top at every input."""

import os
import threading
from importlib import import_module
from typing import Any

from dual_mode_streaming.bridges.streamlit import LiveText
from dual_mode_streaming.ui._chats import Chats, Message, Source
from dual_mode_streaming.ui._sources import from_llm, from_service, llm_client, service_client

__all__ = ["page"]

_STOPPED = ":material/stop_circle: Stopped"
_STYLE = """<style>
.st-key-if-stopped { display: none }
[data-test-script-state="notRunning"] .st-key-if-stopped { display: flex }
</style>"""


def page() -> None:
    """Draw the chat as it is, and what comes."""
    import streamlit as st

    st.set_page_config(page_title="Dual-mode chat", page_icon=":material/forum:")
    st.cache_resource(_load_early, show_spinner=False)()
    chats = st.cache_resource(Chats, show_spinner=False)()
    chat = chats.find(st.query_params.get("chat"))
    if st.query_params.get("chat") != chat.id:
        st.query_params["chat"] = chat.id  # a reload finds it by that
    st.session_state["messages"] = chat.messages
    url = os.environ.get("DUAL_MODE_UI_URL", "")
    with st.sidebar:
        answers = ["The service"] * bool(url) + ["The model"]
        who = st.radio("Answered by", answers, key="who")
        st.caption(f"The service at {url}" if who == "The service" else "Asked directly")

    # Before the answer, which takes its time: the stop button is in it.
    question = st.chat_input("Ask something", key="question", submit_mode="stop")
    if question:
        chat.ask(question, _service(st, url) if who == "The service" else _model(st))
    elif not chat.messages:
        st.title("Dual-mode chat")
    for message in chat.messages:
        _draw(st, message, joins=not question)


def _load_early() -> None:
    """Streamlit loads pandas when it first writes a stream; here, while nobody waits for that."""
    threading.Thread(target=import_module, args=("pandas",), daemon=True).start()


def _service(st: Any, url: str) -> Source:
    """The service, asked by our client; both modes of this page keep one client for all."""
    client = st.cache_resource(service_client, show_spinner=False)(
        url, os.environ.get("DUAL_MODE_UI_KEY")
    )
    return lambda said: from_service(client, said)


def _model(st: Any) -> Source:
    """The model that the settings name, asked directly."""
    try:
        client = st.cache_resource(llm_client, show_spinner=False)()
    except ValueError as error:
        st.error(str(error))
        st.stop()
    return lambda said: from_llm(client, said)


def _draw(st: Any, message: Message, *, joins: bool) -> None:
    """One message, in the same elements whether its text is still coming or was there before."""
    with st.chat_message(message.role):
        text, below, stop = st.container(), st.empty(), st.empty()
        if message.live is not None and message.live.is_live:
            _stream(st, message, message.live, text, below, stop if joins else None)
        else:
            text.markdown(message.text)
        if message.error:
            below.error(message.error, icon=":material/error:")
        elif message.status == "stopped":
            below.caption(_STOPPED)


def _stream(st: Any, message: Message, live: LiveText, text: Any, below: Any, stop: Any) -> None:
    """A message whose text is still coming.

    A script that is stopped draws no more, so its mark is drawn before, and the style shows it when
    no script runs.
    """
    with below.container(key="if-stopped"):
        st.html(_STYLE)
        st.caption(_STOPPED)
    if stop is not None:  # the input has a stop button, but only after a question
        stop.button("Stop", key="stop", icon=":material/stop_circle:", on_click=live.stop)
    try:
        with text:
            st.write_stream(live)
    except Exception:
        if message.error is None:  # else it is shown, in words
            raise
    below.empty()
    if stop is not None:
        stop.empty()


if __name__ == "__main__":
    page()
