"""What models' APIs send: any content as a stream and as a whole is the same answer, and whatever
becomes of the bytes is an answer or a failure."""

import json
from random import Random
from typing import Any

from dual_mode_streaming.llm import EventType, ProviderError, StreamEvent, fold
from dual_mode_streaming.llm._readers import AnthropicReader, ChatReader, ResponsesReader
from dual_mode_streaming.llm.providers._reading import read_stream

from .making import any_json, any_text, bent, bent_json, cut

Parts = list[tuple[str, Any]]


def any_parts(rng: Random) -> Parts:
    """The content of an answer, as its parts in their order."""
    parts: Parts = []
    for number in range(rng.randint(1, 4)):
        kind = rng.choice(("thinking", "text", "text", "call", "call"))
        if kind == "call":
            arguments: Any = {"a": any_json(rng)} if rng.random() < 0.7 else {}
            parts.append((kind, (f"id{number}", rng.choice("fgh"), arguments)))
        else:
            parts.append((kind, f"{number}{any_text(rng)}"))
    return parts


def pieces_of(rng: Random, text: str) -> list[str]:
    return ["".join(p) for p in _split(rng, list(text))] or [""]


def _split(rng: Random, signs: list[str]) -> list[list[str]]:
    at = sorted(rng.randint(0, len(signs)) for _ in range(rng.randint(0, 3)))
    return [signs[a:b] for a, b in zip([0, *at], [*at, len(signs)], strict=True)]


def chat(rng: Random, parts: Parts) -> tuple[list[Any], Any]:
    """The chunks of a stream of chat completions, and the body of the same answer."""
    field = rng.choice(("reasoning", "reasoning_content"))
    deltas: list[Any] = [{"role": "assistant", "content": ""}]
    message: dict[str, Any] = {"role": "assistant", "content": "", field: "", "tool_calls": []}
    for kind, value in parts:
        if kind == "call":
            identity, name, arguments = value
            text, index = dumped(arguments), len(message["tool_calls"])
            head = {"id": identity, "type": "function"}
            message["tool_calls"].append({**head, "function": {"name": name, "arguments": text}})
            deltas.append({"tool_calls": [{**head, "index": index, "function": {"name": name}}]})
            for piece in pieces_of(rng, text):
                one = {"index": index, "function": {"arguments": piece}}
                deltas.append({"tool_calls": [one]})
        else:
            name = field if kind == "thinking" else "content"
            message[name] += value
            deltas += [{name: piece} for piece in pieces_of(rng, value)]
    reason = rng.choice(("stop", "length", "tool_calls", "content_filter"))
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    end: dict[str, Any] = {"choices": [{"delta": {}, "finish_reason": reason}]}
    chunks += [end | {"usage": usage}] if rng.random() < 0.5 else [end, {"usage": usage}]
    return chunks, {"choices": [{"message": message, "finish_reason": reason}], "usage": usage}


def messages(rng: Random, parts: Parts) -> tuple[list[Any], Any]:
    """The events of a stream of messages, and the body of the same answer."""
    usage = {"input_tokens": 3, "cache_read_input_tokens": 5}
    events: list[Any] = [{"type": "message_start", "message": {"usage": usage}}]
    content: list[Any] = []
    for index, (kind, value) in enumerate(parts):
        deltas: list[Any]
        if kind == "call":
            block = {"type": "tool_use", "id": value[0], "name": value[1], "input": {}}
            whole = {**block, "input": value[2]}
            texts = pieces_of(rng, dumped(value[2]) if value[2] else "")
            deltas = [{"type": "input_json_delta", "partial_json": text} for text in texts]
        elif kind == "thinking":
            block = {"type": "thinking", "thinking": "", "signature": ""}
            whole = {**block, "thinking": value, "signature": f"s{index}"}
            deltas = [{"type": "thinking_delta", "thinking": t} for t in pieces_of(rng, value)]
            deltas.append({"type": "signature_delta", "signature": f"s{index}"})
        else:
            block, whole = {"type": "text", "text": ""}, {"type": "text", "text": value}
            deltas = [{"type": "text_delta", "text": text} for text in pieces_of(rng, value)]
        content.append(whole)
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        for delta in deltas:
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    reason = {"stop_reason": rng.choice(("end_turn", "max_tokens", "refusal", "pause_turn"))}
    counted = {"output_tokens": 4}
    events.append({"type": "message_delta", "delta": reason, "usage": counted})
    body = {"type": "message", "content": content, **reason, "usage": usage | counted}
    return [*events, {"type": "message_stop"}], body


def responses(rng: Random, parts: Parts) -> tuple[list[Any], Any]:
    """The events of a stream of responses, and the body of the same answer."""
    events: list[Any] = [{"type": "response.created"}]
    output: list[Any] = []
    for index, (kind, value) in enumerate(parts):
        name, text = "output_text", value
        if kind == "call":
            name, text = "function_call_arguments", dumped(value[2])
            head = {"type": "function_call", "call_id": value[0], "name": value[1]}
            item: dict[str, Any] = {**head, "arguments": text}
            start = {**head, "arguments": ""}
            events.append({"type": "response.output_item.added", "item": start})
            events[-1]["output_index"] = index
        elif kind == "thinking":
            name, item = "reasoning_text", {"type": "reasoning", "content": [{"text": value}]}
        else:
            item = {"type": "message", "content": [{"type": "output_text", "text": value}]}
        for delta in pieces_of(rng, text):
            events.append({"type": f"response.{name}.delta", "output_index": index})
            events[-1]["delta"] = delta
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
        output.append(item)
    body: dict[str, Any] = {"status": "completed", "output": output, "usage": {"input_tokens": 3}}
    if rng.random() < 0.5:
        body["usage"]["output_tokens_details"] = {"reasoning_tokens": 2}
    return [*events, {"type": "response.completed", "response": body}], body


FORMATS = ((ChatReader, chat), (AnthropicReader, messages), (ResponsesReader, responses))


def dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class Body:
    """Bytes as the body of an answer."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    async def iter_bytes(self) -> Any:
        for piece in self.pieces:
            yield piece

    aiter_bytes = iter_bytes


def run(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


async def read(body: Body, reader: Any) -> list[StreamEvent]:
    return [event async for event in read_stream(body, reader)] + reader.end()


def frames(chunks: list[Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)


def is_sound(events: list[StreamEvent]) -> StreamEvent:
    """Check an answer: it ends once, can be sent, and its calls are valid and one after another."""
    answer = fold(events)
    assert [event.is_final for event in events] == [False] * (len(events) - 1) + [True]
    opened, started = None, 0
    for event in events:
        event.model_dump_json()
        if event.type is EventType.TOOL_CALL_START:
            assert opened is None
            assert event.tool_call is not None
            assert event.tool_call.index == started
            opened, started = started, started + 1
        elif event.tool_call is not None:
            assert event.tool_call.index == opened
            opened = None if event.type is EventType.TOOL_CALL_END else opened
    assert opened is None
    assert answer.message is not None
    for call in answer.message.tool_calls:
        assert isinstance(json.loads(call.arguments), dict), call.arguments
    assert len({call.id for call in answer.message.tool_calls}) == started
    return answer


def upstreams(rng: Random) -> None:
    """A stream is the same answer as the whole; what is bent ends in an answer or a failure."""
    reader, shape = rng.choice(FORMATS)
    chunks, whole = shape(rng, any_parts(rng))
    if rng.random() < 0.3:
        streamed = is_sound(run(read(Body(cut(rng, frames(chunks))), reader())))
        text = json.dumps(whole).encode()
        for body in ([text], cut(rng, text), [frames(chunks)]):
            assert fold(run(read(Body(body), reader()))) == streamed
        assert is_sound(run(read(Body([text]), reader()))) == streamed
        return
    chunks = bent_json(rng, [chunks, [whole]])
    data = frames(chunks if isinstance(chunks, list) else [chunks])
    if rng.random() < 0.3:
        data = bent(rng, [data, json.dumps(whole).encode(), b"data: [DONE]\n\n"])
    same_end(data, cut(rng, data), reader)


def same_end(data: bytes, cut: list[bytes], reader: Any) -> None:
    """Read some bytes at once and in pieces: the same answer, or the same failure."""
    ends = []
    for pieces in ([data], cut):
        try:
            ends.append(_without_ids(is_sound(run(read(Body(pieces), reader())))))
        except ProviderError as error:
            ends.append((str(error), error.error_type, error.status))
    assert ends[0] == ends[1]


def _without_ids(answer: StreamEvent) -> Any:
    dumped = answer.model_dump()
    for call in dumped["message"]["tool_calls"]:
        call["id"] = "" if call["id"].startswith("call_") else call["id"]
    return dumped
