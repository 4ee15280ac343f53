"""Stand-ins for Anthropic and OpenAI: they refuse what the real services refuse.

Their model thinks, reads two files at once, thinks again, reads another one, and says the words.
"""

import hashlib
import hmac
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from dual_mode_streaming.sse import ServerSentEvent

WORDS = ("kumquat", "papaya")
FINAL = "The words: kumquat, papaya."
Json = dict[str, Any]


class Refused(Exception):
    """A request that the real service refuses."""


def need(condition: Any, message: str) -> None:
    if not condition:
        raise Refused(message)


def known(given: Json, names: str, where: str) -> None:
    extra = set(given) - set(names.split())
    need(not extra, f"{where}: Extra inputs are not permitted: {sorted(extra)}")


def seal(text: str) -> str:
    return hmac.new(b"of the service", text.encode(), hashlib.sha256).hexdigest()


class StrictModel:
    """An ASGI app; `refused` and `lost` have what a client did wrong.

    Attributes:
        refused: the messages of all refusals.
        lost: thinking that was given with a call, and was not there when its results came.
        reads: makes the call that reads a file, of one of the tools; by default of `read`.
    """

    error: Callable[[str], Json]

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.lost: list[str] = []
        self.issued: dict[str, list[Json]] = {}  # by the id of a call: the thinking before it
        self.numbers = itertools.count()
        self.reads: Callable[[str, list[str]], Json] = lambda file, tools: {
            "name": "read",
            "arguments": {"file": file},
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        response: Response
        try:
            given = json.loads(await request.body() or b"{}")
            response = self.answer(request, given)
        except Refused as refusal:
            self.refused.append(str(refusal))
            response = JSONResponse(self.error(str(refusal)), 400)
        await response(scope, receive, send)

    def answer(self, request: Request, given: Json) -> Response:
        raise NotImplementedError

    def plan(self, step: int, history: Any, tools: list[str]) -> tuple[str, str, list[Json]]:
        """Return the thinking, the text and the calls of a step."""
        if not tools:
            return "", json.dumps({"title": "Words"}), []
        if step == 0:
            calls = [self.reads(file, tools) for file in ("one.txt", "two.txt")]
            return "Both at once.", "Let me look.", calls
        said = json.dumps(history)
        need(all(word in said for word in WORDS), "the results of the tools are not there")
        if step == 1:
            return "Once more: é\u2028.", "", [self.reads("one.txt", tools)]
        return "That is all.", FINAL, []

    def fresh(self, prefix: str) -> str:
        return f"{prefix}_{next(self.numbers):024d}"


class StrictAnthropic(StrictModel):
    """`/v1/messages`: signed and redacted thinking."""

    BLOCKS: ClassVar = {
        "text": "type text cache_control citations",
        "image": "type source cache_control",
        "document": "type source cache_control title context citations",
        "thinking": "type thinking signature",
        "redacted_thinking": "type data",
        "tool_use": "type id name input cache_control caller",
        "tool_result": "type tool_use_id content is_error cache_control",
        "tool_reference": "type tool_name cache_control",
    }
    BODY = (
        "model messages max_tokens system metadata stop_sequences stream temperature top_k top_p "
        "tools tool_choice thinking output_config context_management service_tier container"
    )

    @staticmethod
    def error(message: str) -> Json:
        inner = {"type": "invalid_request_error", "message": message}
        return {"type": "error", "error": inner, "request_id": "req_theirs"}

    def answer(self, request: Request, given: Json) -> Response:
        if request.method == "HEAD" or request.url.path != "/v1/messages":
            return JSONResponse({"input_tokens": 7})
        need(request.headers.get("anthropic-version"), "anthropic-version: header is required")
        key = request.headers.get("x-api-key") or request.headers.get("authorization")
        need(key in ("their-key", "Bearer their-key"), "the key is wrong")
        betas = request.headers.get("anthropic-beta", "")
        step = self.check(given, betas)
        tools = [tool["name"] for tool in given.get("tools") or []]
        thinking, text, calls = self.plan(step, given["messages"], tools)
        blocks: list[Json] = []
        if thinking and given.get("thinking", {}).get("type") == "adaptive":
            if step == 1:
                blocks.append({"type": "redacted_thinking", "data": seal("hidden")})
            sealed = {"thinking": thinking, "signature": seal(thinking)}
            blocks.append({"type": "thinking", **sealed})
        thought = list(blocks)
        if text:
            blocks.append({"type": "text", "text": text})
        for call in calls:
            identity = self.fresh("toolu")
            self.issued[identity] = thought
            use = {"id": identity, "name": call["name"], "input": call["arguments"]}
            blocks.append({"type": "tool_use", **use})
        whole = {
            "id": self.fresh("msg"),
            "type": "message",
            "role": "assistant",
            "model": given["model"],
            "content": blocks,
            "stop_reason": "tool_use" if calls else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 11, "output_tokens": 7},
        }
        if not given.get("stream"):
            return JSONResponse(whole)
        frames = (ServerSentEvent(e, event=e["type"]).encode() for e in self.events(whole))
        return StreamingResponse(frames, media_type="text/event-stream")

    def check(self, body: Json, betas: str) -> int:
        """Return the number of finished rounds of tools. Raises Refused."""
        known(body, self.BODY, "body")
        need("context_management" not in body or "context-management-" in betas, "beta is missing")
        need(type(body.get("max_tokens")) is int, "max_tokens: Field required")
        thinks = (body.get("thinking") or {}).get("type")
        need(thinks in (None, "adaptive", "disabled"), f"thinking.type: {thinks} is not supported")
        forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
        need(not (thinks == "adaptive" and forced), "Thinking may not be enabled with forced tools")
        warm = body.get("temperature", 1) != 1 or "top_k" in body
        need(not (thinks == "adaptive" and warm), "temperature may only be 1 with thinking")
        need(json.dumps(body).count('"cache_control": {') <= 4, "more than 4 cache_control blocks")
        names = [tool["name"] for tool in body.get("tools") or []]
        need(len(set(names)) == len(names), "tools: Tool names must be unique.")
        need(all(re.fullmatch(r"[\w-]{1,128}", name) for name in names), "tools: wrong name")
        messages = body["messages"]
        for message in messages:
            per_turn = "output_config" if "per-turn-control-" in betas else ""
            known(message, f"role content {per_turn}", "messages")
            roles = ["user", "assistant"] + ["system"] * ("mid-conversation-" in betas)
            need(message["role"] in roles, f"messages: unexpected role {message['role']!r}")
        spoken = [message for message in messages if message["role"] != "system"]
        need(spoken and spoken[0]["role"] == "user", "messages: first message must be the user's")
        open_calls: list[str] = []
        step = 0
        for message in spoken:
            content = message["content"]
            if isinstance(content, str):
                content = [{"type": "text", "text": content}]
            need(content, "messages: content must not be empty")
            results = [b["tool_use_id"] for b in content if b["type"] == "tool_result"]
            need(set(results) <= set(open_calls), f"unexpected `tool_use_id`: {results}")
            need(len(set(results)) == len(results), "each tool_use must have a single result")
            need(set(open_calls) <= set(results), "`tool_use` ids without `tool_result` after")
            first = [b["type"] for b in content[: len(results)]]
            need(first == ["tool_result"] * len(results), "tool_result blocks must come first")
            step += bool(results)
            for block in content:
                self.check_block(block)
            calls = [b["id"] for b in content if b["type"] == "tool_use"]
            need(not calls or message["role"] == "assistant", "tool_use is of the assistant")
            need(not results or message["role"] == "user", "tool_result is of the user")
            open_calls = calls
            if calls and calls[0] in self.issued:
                thought = [b for b in content if "thinking" in b["type"]]
                if not thought:
                    self.lost += [b["type"] for b in self.issued[calls[0]]]
                need(not thought or thought == self.issued[calls[0]], "thinking cannot be modified")
        need(not open_calls, "`tool_use` ids without `tool_result` after")
        return step

    def check_block(self, block: Json) -> None:
        need(block["type"] in self.BLOCKS, f"content: unknown type {block['type']!r}")
        known(block, self.BLOCKS[block["type"]], block["type"])
        if block["type"] == "text":
            need(block["text"].strip(), "text content blocks must contain non-whitespace text")
        elif block["type"] == "thinking":
            good = block.get("signature") == seal(block["thinking"])
            need(good, "Invalid `signature` in `thinking` block")
        elif block["type"] == "redacted_thinking":
            need(block["data"] == seal("hidden"), "Invalid `data` in `redacted_thinking` block")
        elif block["type"] == "tool_result" and isinstance(block.get("content"), list):
            for inner in block["content"]:
                need(inner["type"] not in ("tool_use", "thinking"), "tool_result: wrong content")
                self.check_block(inner)

    def events(self, whole: Json) -> Iterator[Json]:
        start = {**whole, "content": [], "stop_reason": None}
        yield {"type": "message_start", "message": start}
        for index, block in enumerate(whole["content"]):
            at = {"index": index}
            kind, empty, deltas = block["type"], block, []
            if kind == "text":
                empty = {**block, "text": ""}
                deltas = [{"type": "text_delta", "text": piece} for piece in _halves(block["text"])]
            elif kind == "thinking":
                empty = {"type": kind, "thinking": "", "signature": ""}
                pieces = _halves(block["thinking"])
                deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            elif kind == "tool_use":
                empty = {**block, "input": {}}
                pieces = _halves(json.dumps(block["input"]))
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
            yield {"type": "content_block_start", **at, "content_block": empty}
            for delta in deltas:
                yield {"type": "content_block_delta", **at, "delta": delta}
            yield {"type": "content_block_stop", **at}
        end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": 7}}
        yield {"type": "message_stop"}


def _halves(text: str) -> list[str]:
    return [text[: len(text) // 2], text[len(text) // 2 :]]
