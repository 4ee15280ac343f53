"""A stand-in for OpenAI that refuses what it refuses: responses, chat completions."""

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from dual_mode_streaming.sse import ServerSentEvent

from .strict import Json, StrictModel, _halves, known, need, seal

USAGE = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
DETAILS = {
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 3},
}


class StrictOpenAI(StrictModel):
    """`/v1/responses` with sealed reasoning, and `/v1/chat/completions`.

    Args:
        has_responses: whether there is `/v1/responses`.
    """

    RESPONSES = (
        "model input instructions tools tool_choice parallel_tool_calls reasoning store stream "
        "include prompt_cache_key text client_metadata temperature top_p max_output_tokens "
        "metadata service_tier truncation user stream_options"
    )
    CHAT = (
        "model messages tools tool_choice parallel_tool_calls reasoning_effort stream "
        "stream_options max_tokens max_completion_tokens temperature top_p stop response_format "
        "seed presence_penalty frequency_penalty verbosity"
    )
    MESSAGES: ClassVar = {
        "system": "role content name",
        "developer": "role content name",
        "user": "role content name",
        "assistant": "role content tool_calls refusal name",
        "tool": "role content tool_call_id",
    }
    PREFIXES: ClassVar = {
        "message": "msg",
        "reasoning": "rs",
        "function_call": "fc",
        "custom_tool_call": "ctc",
    }

    def __init__(self, *, has_responses: bool = True) -> None:
        super().__init__()
        self.has_responses = has_responses

    @staticmethod
    def error(message: str) -> Json:
        inner = {"type": "invalid_request_error", "message": message, "param": None, "code": None}
        return {"error": inner}

    def answer(self, request: Request, given: Json) -> Response:
        need(request.headers.get("authorization") == "Bearer their-key", "the key is wrong")
        if request.url.path == "/v1/chat/completions":
            return self.chat(given)
        if request.url.path == "/v1/responses" and self.has_responses:
            return self.responses(given)
        return JSONResponse(self.error("unknown path"), 404)

    def responses(self, body: Json) -> Response:
        known(body, self.RESPONSES, "Unknown parameter")
        items = body["input"]
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        step = self.check_items(items, is_stored=body.get("store") is not False)
        added = [tool for item in items for tool in item.get("tools") or []]
        spread = _spread([*(body.get("tools") or []), *added])
        thinking, text, calls = self.plan(step, items, [tool["name"] for _, tool in spread])
        output: list[Json] = []
        if thinking and body.get("reasoning"):
            summary = [{"type": "summary_text", "text": thinking}]
            thought = {"type": "reasoning", "id": self.fresh("rs"), "summary": summary}
            output.append({**thought, "encrypted_content": seal(thought["id"])})
        thought_id = output[0]["id"] if output else None
        if text:
            part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
            message = {"type": "message", "id": self.fresh("msg"), "role": "assistant"}
            output.append({**message, "status": "completed", "content": [part]})
        for call in calls:
            output.append(self.call_item(call, thought_id, spread))
        whole = {
            "id": self.fresh("resp"),
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": body["model"],
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {**USAGE, **DETAILS},
        }
        if not body.get("stream"):
            return JSONResponse(whole)
        frames = (
            ServerSentEvent({**event, "sequence_number": number}, event=event["type"]).encode()
            for number, event in enumerate(self.events(whole))
        )
        return StreamingResponse(frames, media_type="text/event-stream")

    def call_item(self, call: Json, thought: str | None, spread: list[Any]) -> Json:
        identity = self.fresh("call")
        if thought is not None:
            self.issued[identity] = [{"id": thought}]
        namespace, is_custom = None, False
        for space, tool in spread:
            if tool.get("name") == call["name"]:
                namespace, is_custom = space, tool["type"] == "custom"
        item: Json = {"call_id": identity, "name": call["name"], "status": "completed"}
        if is_custom:
            given = {"type": "custom_tool_call", "id": self.fresh("ctc")}
            given["input"] = call["arguments"]["input"]
        else:
            given = {"type": "function_call", "id": self.fresh("fc")}
            given["arguments"] = json.dumps(call["arguments"])
        return {**item, **given, **({"namespace": namespace} if namespace else {})}

    def check_items(self, items: list[Json], *, is_stored: bool) -> int:
        calls, results = [], []
        step, in_results = 0, False
        for number, item in enumerate(items):
            kind = item.get("type") or "message"
            prefix = self.PREFIXES.get(kind)
            identity = item.get("id")
            right = not prefix or not identity or identity.startswith(f"{prefix}_")
            need(right, f"Invalid 'input[{number}].id': {identity!r}. Expected '{prefix}'")
            is_result = kind.endswith("_call_output")
            if kind == "message":
                roles = ("user", "assistant", "system", "developer")
                need(item.get("role") in roles, f"Invalid value: {item.get('role')!r}")
                said = item["content"]
                for part in said if isinstance(said, list) else []:
                    of_model = part["type"] in ("output_text", "refusal")
                    need(of_model == (item["role"] == "assistant"), f"Invalid: {part['type']!r}")
            elif kind == "reasoning":
                sealed = item.get("encrypted_content")
                need(sealed or is_stored, f"Item with id {identity!r} not found")
                need(not sealed or sealed == seal(identity), "content could not be verified")
                after = items[number + 1 : number + 2]
                need(after and after[0].get("type") != "reasoning", "no required following item")
            elif is_result:
                need(item["call_id"] in calls, f"No tool call found for {item['call_id']}")
                results.append(item["call_id"])
                step += not in_results
            elif kind.endswith("_call"):
                need(re.fullmatch(r"[\w-]{1,64}", item["name"]), "Invalid name")
                calls.append(item["call_id"])
                self.note_lost(items, item["call_id"])
            else:
                need(kind in ("additional_tools", "configuration_update"), f"Invalid {kind!r}")
            in_results = is_result
        need(sorted(calls) == sorted(results), "No tool output found for function call")
        return step

    def note_lost(self, items: list[Json], call: str) -> None:
        there = {item.get("id") for item in items}
        self.lost += [t["id"] for t in self.issued.get(call, []) if t["id"] not in there]

    def events(self, whole: Json) -> Iterator[Json]:
        yield {
            "type": "response.created",
            "response": {**whole, "status": "in_progress", "output": []},
        }
        for index, item in enumerate(whole["output"]):
            at = {"output_index": index, "item_id": item["id"]}
            kind = item["type"]
            empty = {"reasoning": "summary", "message": "content", "function_call": "arguments"}
            name = empty.get(kind, "input")
            bare = {**item, name: type(item[name])()}
            yield {"type": "response.output_item.added", "output_index": index, "item": bare}
            if kind == "reasoning":
                about = {**at, "summary_index": 0}
                for piece in _halves(item["summary"][0]["text"]):
                    event = {"type": "response.reasoning_summary_text.delta", "delta": piece}
                    yield {**event, **about}
            elif kind == "message":
                [part] = item["content"]
                about = {**at, "content_index": 0}
                start = {"type": "response.content_part.added", "part": {**part, "text": ""}}
                yield {**start, **about}
                for piece in _halves(part["text"]):
                    event = {"type": "response.output_text.delta", "delta": piece, "logprobs": []}
                    yield {**event, **about}
                yield {"type": "response.content_part.done", "part": part, **about}
            else:
                is_function = kind == "function_call"
                of = "function_call_arguments" if is_function else "custom_tool_call_input"
                for piece in _halves(item[name]):
                    yield {"type": f"response.{of}.delta", "delta": piece, **at}
                yield {"type": f"response.{of}.done", name: item[name], **at}
            yield {"type": "response.output_item.done", "output_index": index, "item": item}
        yield {"type": "response.completed", "response": whole}

    def chat(self, body: Json) -> Response:
        known(body, self.CHAT, "Unknown parameter")
        step, waiting = 0, []
        for message in body["messages"]:
            need(message["role"] in self.MESSAGES, f"Invalid role {message['role']!r}")
            known(message, self.MESSAGES[message["role"]], "Unknown parameter: messages")
            if message["role"] == "tool":
                need(message["tool_call_id"] in waiting, "messages with role 'tool' must respond")
                waiting.remove(message["tool_call_id"])
                parts = message["content"]
                of_text = isinstance(parts, str) or all(p["type"] == "text" for p in parts)
                need(of_text, "a tool message has text only")
                step += not waiting
                continue
            need(not waiting, f"tool_call_ids did not have response messages: {waiting}")
            waiting = [call["id"] for call in message.get("tool_calls") or []]
            need(message.get("content") or waiting, "Invalid value for 'content': null")
            for call in message.get("tool_calls") or []:
                json.loads(call["function"]["arguments"])
        need(not waiting, f"tool_call_ids did not have response messages: {waiting}")
        tools = [tool["function"]["name"] for tool in body.get("tools") or []]
        need(all(re.fullmatch(r"[\w-]{1,64}", name) for name in tools), "Invalid name")
        thinking, text, calls = self.plan(step, body["messages"], tools)
        made = [
            {
                "index": index,
                "id": self.fresh("call"),
                "type": "function",
                "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])},
            }
            for index, call in enumerate(calls)
        ]
        reason = "tool_calls" if made else "stop"
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        about = {"id": self.fresh("chatcmpl"), "created": 1, "model": body["model"]}
        message = {"role": "assistant", "content": text or None, "reasoning_content": thinking}
        if not body.get("stream"):
            whole = {**message, **({"tool_calls": made} if made else {})}
            choice = {"index": 0, "message": whole, "finish_reason": reason}
            kind = {"object": "chat.completion"}
            return JSONResponse({**about, **kind, "choices": [choice], "usage": usage})
        deltas: list[Json] = [{"reasoning_content": thinking}, {"content": text}]
        deltas += [{"tool_calls": [call]} for call in made]
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": reason})
        chunks = [{"choices": [choice], "usage": None} for choice in choices]
        chunks.append({"choices": [], "usage": usage})
        kind = {"object": "chat.completion.chunk"}
        frames = [ServerSentEvent({**about, **kind, **chunk}).encode() for chunk in chunks]
        return StreamingResponse(
            iter([*frames, b"data: [DONE]\n\n"]), media_type="text/event-stream"
        )


def _spread(tools: list[Json]) -> list[tuple[str | None, Json]]:
    """Return the tools that have a name, each with its namespace."""
    alone = [(None, tool) for tool in tools if tool.get("name") and tool["type"] != "namespace"]
    return alone + [(tool["name"], inner) for tool in tools for inner in tool.get("tools") or []]
