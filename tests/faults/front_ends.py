"""Streams of front ends, each read as its own client reads it: what is cut is gone on with."""

import contextlib
import json
import random
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from dual_mode_streaming import ServerSentEvent
from dual_mode_streaming.llm import LLMClient, LLMSettings, provider_by_settings


class FrontEnd:
    """One stream.

    Attributes:
        text: what the model has said, as far as it is known.
        ended: how it has ended; "" before. Only `whole` says that the text is complete.
        wrong: what must not be.
    """

    def __init__(self, question: str) -> None:
        self.question = question
        self.text = ""
        self.ended = ""
        self.wrong: list[str] = []
        self.begun = False
        self._seen: dict[str, str] = {}

    def request(self) -> dict[str, Any]:
        """Return the next request."""
        raise NotImplementedError

    def stop(self) -> str:
        """Return the path to which a POST stops it."""
        raise NotImplementedError

    def missing(self, status: int) -> bool:
        """Note that it is not there. Returns whether it need not be if nothing was lost."""
        return False

    def take(self, event: ServerSentEvent) -> None:
        """Take one event."""
        self.begun = True


class UseChat(FrontEnd):
    """The AI SDK's: a running answer is read again from its start."""

    def __init__(self, question: str) -> None:
        super().__init__(question)
        self._chat = uuid4().hex

    def request(self) -> dict[str, Any]:
        self.text = ""
        if self.begun:
            return {"method": "GET", "url": f"/ui/chat/{self._chat}/stream"}
        parts = [{"type": "text", "text": self.question}]
        messages = [{"id": "u1", "role": "user", "parts": parts}]
        return {
            "method": "POST",
            "url": "/ui/chat",
            "json": {"id": self._chat, "messages": messages},
        }

    def stop(self) -> str:
        return f"/ui/chat/{self._chat}/stop"

    def missing(self, status: int) -> bool:
        self.begun = False  # nothing runs: the same request has the answer, if it ended well
        return status == 204

    def take(self, event: ServerSentEvent) -> None:
        super().take(event)
        if event.data == "[DONE]":
            return
        chunk = json.loads(event.data)
        if chunk["type"] == "text-delta":
            self.text += chunk["delta"]
        self.ended = {"finish": "whole", "error": "failed", "abort": "stopped"}.get(
            chunk["type"], self.ended
        )


class AgUi(FrontEnd):
    """AG-UI's: it goes on after the last frame that was seen."""

    def __init__(self, question: str) -> None:
        super().__init__(question)
        self._run = uuid4().hex
        self._last = ""

    def request(self) -> dict[str, Any]:
        if self._last:
            headers = {"last-event-id": self._last, "accept": "text/event-stream"}
            return {"method": "GET", "url": f"/agui?runId={self._run}", "headers": headers}
        message = {"id": "u1", "role": "user", "content": self.question}
        body = {"threadId": "t", "runId": self._run, "messages": [message]}
        body |= {"state": {}, "tools": [], "context": [], "forwardedProps": {}}
        headers = {"accept": "text/event-stream"}
        return {"method": "POST", "url": "/agui", "json": body, "headers": headers}

    def stop(self) -> str:
        return f"/agui/{self._run}/stop"

    def take(self, event: ServerSentEvent) -> None:
        super().take(event)
        if event.id:
            if event.id in self._seen:
                self.wrong.append(f"the id {event.id} came twice")
            self._seen[event.id] = event.data
            self._last = event.id
        chunk = json.loads(event.data)
        if chunk["type"] == "TEXT_MESSAGE_CONTENT":
            self.text += chunk["delta"]
        if chunk["type"] == "RUN_FINISHED":
            cancelled = (chunk.get("outcome") or {}).get("type") == "cancelled"
            self.ended = "stopped" if cancelled else "whole"
        elif chunk["type"] == "RUN_ERROR":
            self.ended = "failed"


class Responses(FrontEnd):
    """OpenAI's, in the background: it goes on after the last number that was seen."""

    def __init__(self, question: str) -> None:
        super().__init__(question)
        self._key = uuid4().hex
        self._id = ""
        self._next = 0

    def request(self) -> dict[str, Any]:
        if self._id:
            after = f"?stream=true&starting_after={self._next - 1}"
            return {"method": "GET", "url": f"/v1/responses/{self._id}{after}"}
        body = {"model": "simulator", "input": self.question, "background": True, "stream": True}
        headers = {"idempotency-key": self._key}
        return {"method": "POST", "url": "/v1/responses", "json": body, "headers": headers}

    def stop(self) -> str:
        return f"/v1/responses/{self._id}/cancel"

    def take(self, event: ServerSentEvent) -> None:
        super().take(event)
        chunk = json.loads(event.data)
        if chunk["type"] == "response.created":
            self._id = chunk["response"]["id"]
        if chunk["sequence_number"] != self._next:
            self.wrong.append(f"{chunk['sequence_number']} came instead of {self._next}")
        self._next = chunk["sequence_number"] + 1
        if chunk["type"] == "response.output_text.delta":
            self.text += chunk["delta"]
        self.ended = {
            "response.completed": "whole",
            "response.failed": "failed",
            "response.cancelled": "stopped",
            "response.incomplete": "stopped",
        }.get(chunk["type"], self.ended)


FRONT_ENDS = (UseChat, AgUi, Responses)


def front_end(dice: random.Random, kinds: Iterable[type[FrontEnd]] = FRONT_ENDS) -> FrontEnd:
    """Return one of any kind, with a question of which there are a hundred."""
    return dice.choice([*kinds])(f"Tell me of number {dice.randrange(100)}.")


async def answer_to(question: str) -> str:
    """Return what the model says if nothing disturbs it."""
    async with contextlib.aclosing(LLMClient(provider_by_settings(LLMSettings()))) as client:
        events = client.chat_completion([{"role": "user", "content": question}], stream=True)
        return "".join([event.text_delta.content async for event in events if event.text_delta])
