"""The chats of the process: whoever knows a chat's id finds it again, its answer still coming."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from dual_mode_streaming.bridges.streamlit import LiveText

__all__ = ["Chat", "Chats", "Message", "Source"]

Source = Callable[[list[dict[str, str]]], AsyncIterable[str]]
"""Gives the text of the answer to what was said so far."""

_KEEP = 30.0
"""Seconds that an answer waits for its page to come back."""


@dataclass
class Message:
    """What was said by one of both; of an answer, the text as it comes, and how it ended."""

    role: Literal["user", "assistant"]
    said: str = ""
    live: LiveText | None = None
    id: str = field(default_factory=lambda: uuid4().hex)

    @property
    def text(self) -> str:
        """The text so far."""
        return self.said if self.live is None else self.live.text

    @property
    def status(self) -> str:
        """That of the `LiveText`; a question is "done"."""
        return "done" if self.live is None else self.live.status

    @property
    def error(self) -> str | None:
        """Why it failed, in words."""
        error = self.live and self.live.error
        return (str(error) or type(error).__name__) if error else None


@dataclass
class Chat:
    """Messages in their order. The id is a secret: who knows it may read and go on."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    messages: list[Message] = field(default_factory=list)

    def ask(self, question: str, source: Source) -> None:
        """Add a question, and its answer to come, at once: no script ends between the two."""
        asked = Message("user", question)
        said = [
            {"role": message.role, "content": message.text}
            for message in (*self.messages, asked)
            if message.text
        ]
        answer = Message("assistant", live=LiveText(source(said), keep=_KEEP))
        self.messages += (asked, answer)


class Chats:
    """The newest chats, so many; one more, and the one that was not used for longest is gone."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._chats: OrderedDict[str, Chat] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, id: str | None) -> Chat:
        """The chat of that id, or a new one with another."""
        with self._lock:
            chat = self._chats.get(id or "") or Chat()
            self._chats[chat.id] = chat
            self._chats.move_to_end(chat.id)
            while len(self._chats) > self._limit:
                self._chats.popitem(last=False)
            return chat
