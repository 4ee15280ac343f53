"""OpenAI's responses as they are kept: their object at any time, and their input."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Final, Self, cast

import pydantic_core
from starlette.requests import Request

from dual_mode_streaming.errors import Problem, StoreError
from dual_mode_streaming.llm._events import EventType
from dual_mode_streaming.llm._forwarding import Answer, Forwarded
from dual_mode_streaming.llm._off_loop import off_loop
from dual_mode_streaming.llm.wire._format import event_frame, message_of
from dual_mode_streaming.llm.wire._json_body import STEP, parse_json
from dual_mode_streaming.llm.wire._parsing import invalid
from dual_mode_streaming.llm.wire._recorded import RecordedAnswer, RecordedAnswers
from dual_mode_streaming.llm.wire._response_objects import ResponseFrames
from dual_mode_streaming.recordings import StreamGone, StreamRecord
from dual_mode_streaming.rendering import Frames
from dual_mode_streaming.running.owner import logger
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.web._fingerprint import digest
from dual_mode_streaming.web.recorded._registry import registry_of

_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
}
_ITEM_DONE: Final = b"event: response.output_item.done\n"
_COMPLETE: Final = ("response.completed", "response.incomplete")
_TERMINAL: Final = tuple(f"event: {name}\n".encode() for name in (*_COMPLETE, "response.failed"))

OPERATION: Final = "llm responses"
"""The name of the operation in the store."""


def head_of(response: Mapping[str, Any], given: list[Any]) -> bytes:
    """Return what is kept with a response: its object as it begins, and its whole input."""
    return dumps({"response": response, "input": given})


def as_items(given: Any) -> list[Any]:
    """Return the input of a request as a list of items."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return given if isinstance(given, list) else []


def without_ids(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return output items as input: their ids mean nothing to another service."""
    return [
        {name: value for name, value in item.items() if name not in ("id", "status")}
        if item.get("type") != "reasoning"
        else item
        for item in items
    ]


def frame_object(frame: bytes) -> dict[str, Any]:
    """Return the JSON object of an event."""
    found: dict[str, Any] = pydantic_core.from_json(frame.partition(b"\ndata: ")[2])
    return found


async def to_terminal(frames: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield frames up to the terminal event of a response, and close them."""
    async with aclosing(frames):
        async for frame in frames:
            yield frame
            if frame.startswith(_TERMINAL):
                return


class KeptResponse:
    """A response that is kept.

    Attributes:
        answer: its recording.
        input: the items that it was made from, those of earlier responses included.
        is_large: whether it takes long to encode them.
    """

    def __init__(self, answer: RecordedAnswer, kept: dict[str, Any], is_large: bool) -> None:
        self.answer = answer
        self.input: list[dict[str, Any]] = [i for i in kept["input"] if isinstance(i, dict)]
        self.is_large = is_large
        self._begun: dict[str, Any] = kept["response"]

    @classmethod
    async def of(cls, answer: RecordedAnswer) -> Self:
        """Return the response in a recording. Raises StreamGone."""
        head = await answer.head()
        is_large = len(head) > STEP
        return cls(answer, await off_loop(is_large, parse_json, head, len(head)), is_large)

    @property
    def id(self) -> str:
        """The id."""
        return str(self._begun["id"])

    @property
    def is_background(self) -> bool:
        """Whether it was made in the background."""
        return self._begun["background"] is True

    @property
    def is_running(self) -> bool:
        """Whether it is being made."""
        return self.answer.info.state == "running"

    async def as_object(self) -> dict[str, Any]:
        """Return the response object. Raises StreamGone if it has just been deleted."""
        info = self.answer.info
        if info.state == "done":
            found: dict[str, Any] = frame_object((await self.answer.record(info.head - 1)).data)[
                "response"
            ]
            return found
        if info.state == "running":
            return self._begun | {"status": "cancelled" if info.cancelling else "in_progress"}
        return await self._ended(await self.answer.record(info.head))

    def as_queued(self) -> dict[str, Any]:
        """Return the response object as the answer to its request."""
        return self._begun | {"status": "queued"}

    def frames(self, after: int) -> AsyncGenerator[bytes, None]:
        """Yield the events after the one with this number."""
        return self.answer.frames(after, self._last_event)

    async def _last_event(self, end: StreamRecord, number: int) -> bytes:
        """Return the event of an end that the response did not have itself."""
        response = await self._ended(end)
        # OpenAI has no event of a cancelled response: its clients know this one as an end.
        name = "failed" if response["status"] == "failed" else "incomplete"
        return event_frame(f"response.{name}", sequence_number=number, response=response)

    async def _ended(self, end: StreamRecord) -> dict[str, Any]:
        """Return the object of a response that something else ended."""
        output = [
            frame_object(frame)["item"]
            async for frame in self.answer.stored()
            if frame.startswith(_ITEM_DONE)
        ]
        if end.name == "cancelled":
            return self._begun | {"status": "cancelled", "output": output}
        message = "the process that made this response has ended; create the response again"
        if end.is_error:
            message = message_of(pydantic_core.from_json(end.data))
        error = {"code": "server_error", "message": message}
        return self._begun | {"status": "failed", "output": output, "error": error}

    def input_items(self, *, after: str | None, limit: int, ascending: bool) -> dict[str, Any]:
        """Return a page of the items that it was made from.

        Raises:
            Problem: there is no item `after`.
        """
        items = [_listed(item, self.id, number) for number, item in enumerate(self.input)]
        if not ascending:
            items.reverse()
        first = 0
        if after is not None:
            ids = [item["id"] for item in items]
            if after not in ids:
                raise Problem(400, f"after: there is no item {after[:80]!r}", param="after")
            first = ids.index(after) + 1
        page = items[first : first + limit]
        return {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": first + limit < len(items),
        }


class KeptResponses:
    """The responses that an app keeps.

    Attributes:
        answers: their recordings.
    """

    def __init__(self) -> None:
        self.answers = RecordedAnswers(OPERATION)

    @staticmethod
    def stream_of(request: Request, identity: str) -> str:
        """Return the id of the stream in which a response is kept for the owner of a request."""
        return digest(OPERATION, registry_of(request.app).owner_of(request), identity)[:32]

    async def find(self, request: Request, identity: str) -> KeptResponse | None:
        """Return a response; None if there is none with this id, or it has another owner."""
        if not self.answers.is_possible(request):
            return None
        answer = await self.answers.find(request, self.stream_of(request, identity))
        if answer is None:
            return None
        try:
            return await KeptResponse.of(answer)
        except StreamGone:  # at this moment
            return None

    async def continued(
        self, request: Request, body: dict[str, Any]
    ) -> tuple[dict[str, Any], Problem | None, bool]:
        """Return a body with the items of the response that it continues.

        Returns:
            The body, and why it cannot be continued here; a provider may know the response. And
            whether the items are large.

        Raises:
            Problem: the response is kept here, but cannot be continued.
        """
        previous = body.get("previous_response_id")
        if previous is None:
            return body, None, False
        if not isinstance(previous, str):
            raise invalid("previous_response_id", "a string is needed")
        kept = await self.find(request, previous)
        response = None
        if kept is not None:
            with contextlib.suppress(StreamGone):  # at this moment
                response = await kept.as_object()
        if kept is None or response is None:
            message = f"Previous response with id '{previous[:80]}' not found."
            code = "previous_response_not_found"
            problem = Problem(400, message, param="previous_response_id", code=code)
            return body, problem, False
        if response["status"] not in ("completed", "incomplete"):
            reason = f"the response {previous} is {response['status']}, so it can't be continued"
            raise invalid("previous_response_id", reason)
        given = body.get("input")
        if not isinstance(given, str | list):
            return body, None, False  # the parser says what is wrong
        items = [*kept.input, *without_ids(response["output"]), *as_items(given)]
        return {**body, "input": items}, None, kept.is_large

    async def output_of(self, request: Request, identity: str) -> list[dict[str, Any]]:
        """Return the output items of a response; none if it is not kept, or has another owner."""
        kept = await self.find(request, identity)
        if kept is not None:
            with contextlib.suppress(StreamGone):  # at this moment
                return (await kept.as_object())["output"] or []
        return []

    def keeper(self, request: Request, body: Mapping[str, Any], is_large: bool) -> "ResponseKeeper":
        """Return what keeps the response to a request, once it is complete."""

        async def keep(response: Mapping[str, Any]) -> None:
            identity = response.get("id")
            if not isinstance(identity, str) or not isinstance(response.get("output"), list):
                return
            about = {"id": identity, "background": False}
            head = await off_loop(is_large, head_of, about, as_items(body.get("input")))
            last = event_frame("response.completed", response=response)
            stream = self.stream_of(request, identity)
            try:
                await self.answers.keep(request, stream, head, last)
            except StoreError as error:
                logger.warning("the response %s is not kept: %s", identity[:80], error)

        return ResponseKeeper(keep)


class ResponseKeeper:
    """Keeps a response before its client is told that it is complete.

    Args:
        keep: keeps the object of a response.
    """

    def __init__(self, keep: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
        self._keep = keep

    async def whole(self, body: Any) -> None:
        """Keep the object of a response."""
        await self._keep(body if isinstance(body, dict) else {})

    async def streamed(
        self, items: AsyncGenerator[Answer, None], frames: Frames
    ) -> AsyncGenerator[Answer, None]:
        """Yield the items of a streamed response, and close them.

        Args:
            items: the items.
            frames: the frames that are going to be made of the events among them.
        """
        async with aclosing(items):
            async for item in items:
                if not isinstance(item, Forwarded):
                    if item.type is EventType.MESSAGE_COMPLETE:
                        await self._keep(cast(ResponseFrames, frames).complete(item))
                elif item.name in _COMPLETE and item.data is not None:
                    await self.whole(pydantic_core.from_json(item.data).get("response"))
                yield item


def _listed(item: dict[str, Any], response: str, number: int) -> dict[str, Any]:
    """Return an item of the input with all that its type needs."""
    kind = str(item.get("type") or "message")
    prefix = _PREFIXES.get(kind, "item")
    identity = item.get("id") or f"{prefix}_{response.removeprefix('resp_')}_in{number}"
    listed = {"status": "completed", **item, "type": kind, "id": identity}
    if kind == "message" and isinstance(item.get("content"), str):
        is_output = item.get("role") == "assistant"
        part: dict[str, Any] = {"type": "input_text", "text": item["content"]}
        if is_output:
            part = {**part, "type": "output_text", "annotations": [], "logprobs": []}
        listed["content"] = [part]
    return listed
