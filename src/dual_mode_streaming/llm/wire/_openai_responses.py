"""OpenAI's responses, as openai-python 3 sends and parses them."""

from typing import Any

from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._forwarding import Dialect
from dual_mode_streaming.llm.wire._format import WireRequest
from dual_mode_streaming.llm.wire._openai import OpenAIFormat
from dual_mode_streaming.llm.wire._response_objects import ResponseFrames, response_object
from dual_mode_streaming.llm.wire._responses_items import RememberedItems
from dual_mode_streaming.llm.wire._responses_request import parse_responses


class OpenAIResponses(OpenAIFormat):
    """The wire format of `POST /v1/responses`.

    Args:
        items: the items of earlier answers, which a request may name by their id.
    """

    dialect: Dialect = "openai-responses"

    def __init__(self, items: RememberedItems | None = None) -> None:
        self._items = items or RememberedItems()

    def is_known(self, identity: str) -> bool:
        """Return whether this worker remembers an item."""
        return self._items.get(identity) is not None

    def parse(self, body: dict[str, Any]) -> WireRequest:
        """Parse a body."""
        return parse_responses(body, self._items.get)

    def answer_frames(
        self, request: WireRequest, request_id: str, input_tokens: int
    ) -> ResponseFrames:
        """Return the events of one answer."""
        return ResponseFrames(
            request_id.removeprefix("req_"), request.echo, request.calls, on_items=self._items.add
        )

    def batch(self, request: WireRequest, request_id: str, event: StreamEvent) -> dict[str, Any]:
        """Return a response."""
        identity = request_id.removeprefix("req_")
        response = response_object(identity, request.echo, event, calls=request.calls)
        self._items.add(response["output"])
        return response
