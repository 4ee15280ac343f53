"""The chats of the process. A reload finds its chat by id, with the answer still streaming."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from dual_mode_streaming.bridges.streamlit import LiveText

AnswerSource = Callable[[list[dict[str, str]]], AsyncIterable[str]]
"""Takes the messages so far and returns the text of the answer, as a stream."""

_KEEP = 30.0
"""Seconds that an answer runs on without its page."""


@dataclass
class DisplayedMessage:
    """A question or an answer. The text of an answer may still be streaming."""

    role: Literal["user", "assistant"]
    content: str = ""
    live: LiveText | None = None
    id: str = field(default_factory=lambda: uuid4().hex)

    @property
    def text(self) -> str:
        """The text so far."""
        return self.content if self.live is None else self.live.text

    @property
    def status(self) -> str:
        """The status of the `LiveText`; "done" for a question."""
        return "done" if self.live is None else self.live.status

    @property
    def error(self) -> str | None:
        """The text of the error, if the answer failed."""
        error = self.live and self.live.error
        return (str(error) or type(error).__name__) if error else None


@dataclass
class Chat:
    """Messages in order. The id is a secret: whoever knows it can read and continue the chat."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    messages: list[DisplayedMessage] = field(default_factory=list)

    def ask(self, question: str, source: AnswerSource) -> None:
        """Add a question and its answer in one step, so that no script ends between the two."""
        asked = DisplayedMessage("user", question)
        messages = [
            {"role": message.role, "content": message.text}
            for message in (*self.messages, asked)
            if message.text
        ]
        answer = DisplayedMessage("assistant", live=LiveText(source(messages), keep=_KEEP))
        self.messages += (asked, answer)


class Chats:
    """Up to `limit` chats; beyond that the least recently used chat is dropped."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._chats: OrderedDict[str, Chat] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, id: str | None) -> Chat:
        """Return the chat with that id, or a new chat with a new id."""
        with self._lock:
            chat = self._chats.get(id or "") or Chat()
            self._chats[chat.id] = chat
            self._chats.move_to_end(chat.id)
            while len(self._chats) > self._limit:
                self._chats.popitem(last=False)
            return chat
