"""Valid inputs of each kind, to be bent."""

import json
from typing import Any

EVENTS = (
    b"",
    b": ping\n",
    b"data: one\n\n",
    b"retry: 1000\nevent: x\nid: 7\ndata: a\ndata: b\n\ndata\n\n",
    b"\xef\xbb\xbfdata: \xe2\x80\xa8\r\n\r\nid\r\ndata:x\r\r\n",
    b'id: 0123456789.end\nevent: done\ndata: {"items":3}\n\n',
)
ACCEPTS = (
    b"",
    b"*/*",
    b"text/event-stream",
    b"application/json, text/event-stream;q=0.5",
    b"text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
    b'application/jsonl;profile="a,b;c\\"d";q=0.3, application/x-ndjson',
    b"text/*;q=0, application/*;q=.2, application/json;charset=UTF-8",
)
CURSORS = (
    b"",
    b"0123456789abcdef0123456789abcdef.1.0",
    b"0123456789abcdef0123456789abcdef.999999999.123456789012345",
    b"0123456789.end",
    b"0123456789.7",
    b"j\n1",
    b'vname\n{"a":1}',
    b"edone\n{}",
    b"J\n1\n2",
    b"J\nJ\n",
)

_TOOLS = [
    {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
    }
]
_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OPENAI_CHAT: tuple[Any, ...] = (
    {"model": "simulator", "messages": [{"role": "user", "content": "Hi"}]},
    {
        "model": "simulator",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "be short"}]},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": [_CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ],
        "tools": _TOOLS,
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "max_completion_tokens": 9,
        "temperature": 0.5,
        "stop": ["x"],
        "seed": 1,
    },
)
OPENAI_RESPONSES: tuple[Any, ...] = (
    {"model": "simulator", "input": "Hi"},
    {
        "model": "simulator",
        "stream": True,
        "instructions": "be short",
        "metadata": {"a": "b"},
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "1"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "tool_choice": "auto",
        "max_output_tokens": 20,
    },
)
ANTHROPIC: tuple[Any, ...] = (
    {"model": "simulator", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
    {
        "model": "simulator",
        "max_tokens": 9,
        "stream": True,
        "system": [{"type": "text", "text": "be short"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "c", "content": "1"}],
            },
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "f"},
        "stop_sequences": ["x"],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    },
)
CHAT: tuple[Any, ...] = (
    {"messages": "Hi"},
    {
        "messages": [
            {"role": "system", "content": "be short"},
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "name": "f", "arguments": "{}"}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ],
        "model": "simulator",
        "stream": True,
        "max_tokens": 9,
        "tools": [{"name": "f", "parameters": {"type": "object"}}],
        "tool_choice": {"name": "f"},
        "stop": ["x"],
        "seed": 7,
        "thinking": True,
        "temperature": 1,
    },
)
BODIES: dict[str, tuple[Any, ...]] = {
    "/v1/chat/completions": OPENAI_CHAT,
    "/v1/responses": OPENAI_RESPONSES,
    "/v1/messages": ANTHROPIC,
    "/v1/messages/count_tokens": ANTHROPIC,
    "/chat": CHAT,
    "/tokens": ({"path": f"/streams/{'0' * 32}"},),
}

STREAM = "0123456789abcdef0123456789abcdef"
GETS = (
    b"/data?count=3&interval=0",
    b"/data?count=3&interval=0&stream=true",
    b"/events",
    b"/events?stream=1",
    b"/healthz",
    b"/readyz",
    b"/metrics",
    b"/v1/models",
    b"/openapi.json",
    b"/",
    b"/streams/%b?from=start&wait=0" % STREAM.encode(),
    b"/streams/%b?access_token=W10.aQ.xyz" % STREAM.encode(),
    b"/streams/%b?last_event_id=%b.1.2&on_gap=fail" % (STREAM.encode(), STREAM.encode()),
)
HEADERS: dict[bytes, tuple[bytes, ...]] = {
    b"accept": ACCEPTS,
    b"last-event-id": CURSORS,
    b"prefer": (b"respond-async", b"wait=1; x, respond-async"),
    b"idempotency-key": (b"k1", b"k" * 300),
    b"x-request-id": (b"r1", b'r"\n'),
    b"authorization": (b"Bearer k", b"Basic eDp5"),
    b"x-api-key": (b"k", b"\xff"),
    b"origin": (b"https://example.com",),
    b"accept-encoding": (b"gzip, br",),
    b"content-type": (b"application/json", b"text/plain; charset=x", b"multipart/form-data"),
    b"anthropic-version": (b"2023-06-01",),
    b"if-none-match": (b'"x"', b"*"),
    b"host": (b"x", b"[::1"),
    b"x-forwarded-proto": (b"https",),
}


def _post(path: str, body: Any, chunked: bool) -> bytes:
    text = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
    if chunked:
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text)
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(text), text)


REQUESTS = (
    *(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target for target in GETS),
    b"GET /data?count=3&interval=0 HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n",
    b"HEAD /data HTTP/1.1\r\nHost: x\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    *(_post(path, known[0], chunked=False) for path, known in BODIES.items()),
    _post("/v1/messages", ANTHROPIC[1], chunked=True),
    _post("/chat", CHAT[1], chunked=True) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /streams/%b/cancel HTTP/1.1\r\nHost: x\r\n\r\n" % STREAM.encode(),
    b"DELETE /streams/%b HTTP/1.1\r\nHost: x\r\n\r\n" % STREAM.encode(),
)
