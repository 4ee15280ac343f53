"""The page of `dual-mode ui`: Streamlit runs this file from its top at every input."""

import os
import threading
from importlib import import_module
from typing import Any

from dual_mode_streaming.ui.chats import Chats, Message, Source
from dual_mode_streaming.ui.sources import from_llm, from_service, llm_client, service_client

__all__ = ["page"]


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
        live = message.live if message.live is not None and message.live.is_live else None
        if live is None:
            st.markdown(message.text)
        else:
            watch = st.empty()
            with watch.container():
                if joins:  # the input has its stop button only after a question
                    st.button("Stop", key="stop", on_click=live.stop)
                st.fragment(run_every=0.25)(_watch)(st, message)
            try:
                st.write_stream(live)
            except Exception:
                if message.error is None:  # else it is shown below
                    raise
            watch.empty()
        if message.error:
            st.error(message.error, icon=":material/error:")
        elif message.status == "stopped":
            st.caption(":material/stop_circle: Stopped")


def _watch(st: Any, message: Message) -> None:
    """A script that was stopped draws no more; this one still runs, and has all drawn again."""
    if message.status == "stopped":
        st.rerun()


if __name__ == "__main__":
    page()
