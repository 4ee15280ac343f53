"""A relay records an upstream, and the simulator replays it: as it came, and for other APIs."""

import asyncio
import contextlib
import json
import tomllib

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from dual_mode_streaming.llm import (
    ChatRequest,
    LLMClient,
    Pace,
    ProviderError,
    Script,
    Simulator,
    collect,
    llm_routes,
)
from dual_mode_streaming.llm.simulator._recorder import Recorder
from dual_mode_streaming.testing import StreamingTransport, run_with_virtual_clock, serving
from tests.helpers.scripted import Answer, Server, Switch, page

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "sk-secret-of-the-client-0123456789"
PATHS = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic": "/v1/messages",
}
USAGE = {"input_tokens": 3, "output_tokens": 2}
WHOLES = {
    "openai-chat": {
        "id": "chatcmpl-theirs",
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "one — two"}}
            | {"finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        "theirs": "field",
    },
    "openai-responses": {
        "id": "resp_theirs",
        "object": "response",
        "status": "completed",
        "output": [
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "one — two"}],
            }
        ],
        "usage": USAGE,
        "theirs": "field",
    },
    "anthropic": {
        "id": "msg_theirs",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "one — two"}],
        "stop_reason": "end_turn",
        "usage": USAGE,
        "theirs": "field",
    },
}
CHUNKS = {
    "openai-chat": [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "one — "}}]},
        {"choices": [{"index": 0, "delta": {"content": "two"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": WHOLES["openai-chat"]["usage"], "theirs": "field"},
        "[DONE]",
    ],
    "openai-responses": [
        {"type": "response.output_text.delta", "item_id": "m", "delta": "one — "},
        {"type": "response.output_text.delta", "item_id": "m", "delta": "two"},
        {"type": "response.theirs"},
        {"type": "response.completed", "response": {"status": "completed", "usage": USAGE}},
    ],
    "anthropic": [
        {"type": "message_start", "message": {"id": "msg_theirs", "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0}
        | {"delta": {"type": "text_delta", "text": "one — "}},
        {"type": "content_block_delta", "index": 0}
        | {"delta": {"type": "text_delta", "text": "two"}, "theirs": "field"},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": USAGE},
        {"type": "message_stop"},
    ],
}


def frames(api):
    """The stream of an API; only the names of OpenAI's chat completions are missing there."""
    made = []
    for chunk in CHUNKS[api]:
        data = chunk if isinstance(chunk, str) else json.dumps(chunk, ensure_ascii=False)
        name = f"event: {chunk['type']}\n" if "type" in chunk else ""
        made.append(f"{name}data: {data}\n\n".encode())
    return made


def asked(api, stream, text="Hi"):
    body = {"model": "theirs-1", "stream": stream}
    if api == "openai-responses":
        return body | {"input": text}
    body |= {"messages": [{"role": "user", "content": text}], "max_tokens": 9}
    return body


class Recording:
    """A relay before an upstream, and its file."""

    def __init__(self, upstream, url, client, file, notes):
        self.upstream, self.url, self.client, self.file = upstream, url, client, file
        self.notes = notes

    async def ask(self, api, stream, text="Hi", **headers):
        sent = {"authorization": f"Bearer {KEY}", "anthropic-beta": "a", "x-own": "mine"} | headers
        return await self.client.post(PATHS[api], json=asked(api, stream, text), headers=sent)

    def replay(self, **options):
        return Simulator(script=Script.load(self.file), any_model=True, **options)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers():
    """Two servers for all tests, upstream and relay; each test sets their apps."""
    upstream, relay = Switch(), Switch()
    async with (
        serving(upstream, lifespan="off", log_level="critical") as upstream.url,
        serving(relay, lifespan="off", log_level="critical", ws="none") as relay.url,
        httpx.AsyncClient(base_url=relay.url, trust_env=False) as client,
    ):
        yield upstream, relay, client


@pytest_asyncio.fixture(loop_scope="module")
async def recording(servers, tmp_path):
    upstream, relay, client = servers
    upstream.server, notes, file = Server(upstream.url), [], tmp_path / "recorded.toml"
    relay.server = Recorder(f"{upstream.url}/", file, notes.append)
    async with contextlib.aclosing(relay.server):
        yield Recording(upstream.server, upstream.url, client, file, notes)


@contextlib.asynccontextmanager
async def service(provider):
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(provider)))
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "batch"])
@pytest.mark.parametrize("api", PATHS)
async def test_the_relay_passes_all_on_and_the_simulator_repeats_it(recording, api, stream):
    pieces = frames(api) if stream else [json.dumps(WHOLES[api]).encode()]
    media = "text/event-stream" if stream else "application/json"
    limits = {"x-request-id": "req_theirs", "set-cookie": "s=cookie-of-theirs"}
    recording.upstream.then(Answer(pieces, media=media, headers=limits))
    answer = await recording.ask(api, stream)
    assert answer.content == b"".join(pieces)
    assert answer.headers["content-type"] == media
    [request] = recording.upstream.asked
    assert (request.method, request.target) == ("POST", PATHS[api])
    assert json.loads(request.body) == asked(api, stream)
    own = {name: request.headers[name] for name in ("authorization", "anthropic-beta", "x-own")}
    assert own == {"authorization": f"Bearer {KEY}", "anthropic-beta": "a", "x-own": "mine"}
    assert "python-httpx" in request.headers["user-agent"]  # the client's own
    text = recording.file.read_text("utf-8")
    assert KEY not in text
    assert "cookie-of-theirs" not in text
    assert recording.file.stat().st_mode & 0o077 == 0

    async with service(recording.replay()) as client:
        for other, path in PATHS.items():
            replayed = await client.post(path, json=asked(other, stream))
            assert replayed.status_code == 200, replayed.text
            if other == api:
                assert replayed.headers["x-request-id"] == "req_theirs"
                same = replayed.content if stream else replayed.json()
                assert same == (b"".join(pieces) if stream else WHOLES[api])
            elif stream:
                assert "one " in replayed.text
                assert "theirs" not in replayed.text.replace("theirs-1", "")
            else:
                assert "one — two" in replayed.text


@pytest.mark.parametrize("recorded_as_stream", [True, False])
@pytest.mark.parametrize("api", PATHS)
async def test_a_recorded_stream_is_a_batch_too_and_the_other_way_round(
    recording, api, recorded_as_stream
):
    whole = page(200, WHOLES[api], "application/json")
    recording.upstream.then(Answer(frames(api)) if recorded_as_stream else whole)
    await recording.ask(api, recorded_as_stream)
    answer = await collect(recording.replay().stream(ChatRequest(messages="Hi", model="theirs-1")))
    assert (answer.message.content, answer.usage.output_tokens) == ("one — two", 2)
    async with service(recording.replay()) as client:
        replayed = await client.post(PATHS[api], json=asked(api, not recorded_as_stream))
        assert replayed.status_code == 200
        assert ("text/event-stream" in replayed.headers["content-type"]) is not recorded_as_stream
        assert "two" in replayed.text


async def test_the_answers_to_the_same_words_are_given_in_turn_and_the_last_again(recording):
    for number in (1, 2):
        text = json.dumps(WHOLES["openai-chat"], ensure_ascii=False).replace(
            "one — two", f"answer {number}"
        )
        recording.upstream.then(page(200, text.encode(), "application/json"))
        await recording.ask("openai-chat", False)
    await recording.ask("openai-chat", False, "Something (else)?")
    async with service(recording.replay()) as client:
        for number in (1, 2, 2):
            body = asked("openai-chat", False)
            answer = await client.post(PATHS["openai-chat"], json=body)
            assert f"answer {number}" in answer.text
        other = asked("openai-chat", False, "Something (else)?")
        assert "answer 2" in (await client.post(PATHS["openai-chat"], json=other)).text
        unknown = asked("openai-chat", False, "Something else?")
        answer = await client.post(PATHS["openai-chat"], json=unknown)
        assert "You said" in answer.text


async def test_numbers_in_what_a_tool_returned_may_be_others(recording):
    recording.upstream.then(page(200, WHOLES["openai-responses"], "application/json"))
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": "Chunk 3d9f: 0.1 s (ok)"}
    body = {"model": "theirs-1", "input": [{"role": "user", "content": "2 (!)"}, call, output]}
    await recording.client.post(PATHS["openai-responses"], json=body)
    async with service(recording.replay()) as client:
        for said, is_same in (("Chunk a7: 12 s (ok)", True), ("Chunk a7: 12 s (failed)", False)):
            output["output"] = said
            answer = await client.post(PATHS["openai-responses"], json=body)
            assert (answer.json() == WHOLES["openai-responses"]) is is_same


async def test_the_results_of_parallel_tools_may_come_in_another_order(recording):
    recording.upstream.then(page(200, WHOLES["anthropic"], "application/json"))
    uses = [{"type": "tool_use", "id": name, "name": "f", "input": {}} for name in "ab"]
    results = [{"type": "tool_result", "tool_use_id": name, "content": f"{name}."} for name in "ab"]
    body = asked("anthropic", False)
    body["messages"] += [
        {"role": "assistant", "content": uses},
        {"role": "user", "content": results},
    ]
    await recording.client.post(PATHS["anthropic"], json=body)
    async with service(recording.replay()) as client:
        results.reverse()
        answer = await client.post(PATHS["anthropic"], json=body)
        assert answer.json() == WHOLES["anthropic"]
        results[-1]["content"] = "a. in 0.3 seconds"
        assert "You said" in (await client.post(PATHS["anthropic"], json=body)).text
        assert "You said" in (await client.post(PATHS["anthropic"], json=body)).text


@pytest.mark.parametrize("api", PATHS)
async def test_a_refusal_is_recorded_and_told_to_the_client_that_saw_it(recording, api):
    refused = {"error": {"type": "overloaded_error", "message": f"not with {KEY}"}}
    recording.upstream.then(
        page(529, refused, "application/json", retry_after="7"),
        page(200, WHOLES[api], "application/json"),
    )
    assert (await recording.ask(api, False)).status_code == 529
    assert (await recording.ask(api, False)).status_code == 200
    assert KEY not in recording.file.read_text("utf-8")
    async with service(recording.replay()) as client:
        answer = await client.post(PATHS[api], json=asked(api, False))
        assert (answer.status_code, answer.headers["retry-after"]) == (529, "7")
        assert answer.json()["error"]["message"] == "not with [credential]"
        assert (await client.post(PATHS[api], json=asked(api, False))).json() == WHOLES[api]


@pytest.mark.parametrize("api", PATHS)
async def test_a_cut_is_a_cut_for_the_client_and_in_the_replay(recording, servers, api):
    recording.upstream.then(Answer(frames(api)[:3], then="cut"))
    with pytest.raises(httpx.RemoteProtocolError):
        await recording.ask(api, True)
    [reply] = tomllib.loads(recording.file.read_text("utf-8"))["reply"]
    assert reply["recorded"]["cut"] is True
    with pytest.raises(ProviderError) as cut:
        await collect(recording.replay().stream(ChatRequest(messages="Hi", model="theirs-1")))
    assert cut.value.error_type == "stream_truncated"
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(recording.replay())))
    _, relay, client = servers
    relay.server = app
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(PATHS[api], json=asked(api, True))


async def test_nothing_is_recorded_when_the_client_leaves_and_the_upstream_is_left_too(recording):
    recording.upstream.then(Answer(frames("anthropic")[:2], then="hang"))
    body = asked("anthropic", True)
    async with recording.client.stream("POST", PATHS["anthropic"], json=body) as answer:
        await anext(answer.aiter_bytes())
    await asyncio.wait_for(recording.upstream.gone.wait(), 60)
    assert not recording.file.exists()


@pytest.mark.parametrize("api", PATHS)
async def test_a_client_may_leave_at_the_end_of_the_answer_before_that_of_the_transfer(
    recording, api
):
    pieces = frames(api)
    recording.upstream.then(Answer(pieces, then="hang"))
    body, received = asked(api, True), b""
    async with recording.client.stream("POST", PATHS[api], json=body) as answer:
        async for chunk in answer.aiter_bytes():
            received += chunk
            if received == b"".join(pieces):
                break
    await asyncio.wait_for(recording.upstream.gone.wait(), 60)
    async with service(recording.replay()) as client:
        assert (await client.post(PATHS[api], json=body)).content == received


async def test_other_paths_pass_unrecorded_and_a_missing_upstream_is_a_502(recording):
    recording.upstream.then(page(200, {"data": []}, "application/json"))
    answer = await recording.client.get("/v1/models?limit=2")
    assert answer.json() == {"data": []}
    assert recording.upstream.asked[-1].target == "/v1/models?limit=2"
    answer = await recording.client.post("/v1/messages", content=b"no JSON")
    assert answer.status_code == 200  # what the upstream says
    assert not recording.file.exists()
    notes = []
    nobody = Recorder("http://127.0.0.1:9/v1", recording.file, notes.append)
    async with (
        contextlib.aclosing(nobody),
        httpx.AsyncClient(transport=StreamingTransport(nobody), base_url="http://test") as client,
    ):
        answer = await client.post(PATHS["anthropic"], json=asked("anthropic", False))
        assert answer.status_code == 502
        assert "cannot be reached" in answer.json()["error"]["message"]
    assert "cannot be reached" in notes[0]


async def test_a_directory_that_is_not_there_is_refused_before_anything_is_recorded(tmp_path):
    with pytest.raises(ValueError, match=r"^the directory of .*s\.toml does not exist"):
        Recorder("http://127.0.0.1:9", tmp_path / "no" / "s.toml", print)


async def test_a_websocket_is_refused_so_that_the_client_goes_on_with_http(recording):
    upgrade = {"connection": "upgrade", "upgrade": "WebSocket"}
    assert (await recording.client.get("/v1/responses", headers=upgrade)).status_code == 426
    assert recording.upstream.asked == []


async def test_a_base_url_may_end_in_the_version(recording):
    recording.upstream.then(page(200, WHOLES["openai-chat"], "application/json"))
    recorder = Recorder(f"{recording.url}/api/v1", recording.file, recording.notes.append)
    async with (
        contextlib.aclosing(recorder),
        httpx.AsyncClient(transport=StreamingTransport(recorder), base_url="http://x") as client,
    ):
        await client.post("/v1/chat/completions", json=asked("openai-chat", False))
        await client.post("/chat/completions", json=asked("openai-chat", False))
    assert [a.target for a in recording.upstream.asked] == ["/api/v1/chat/completions"] * 2
    assert len(Script.load(recording.file).reply) == 2


async def test_a_file_that_is_no_script_is_refused_before_anything_is_sent(tmp_path):
    (tmp_path / "x.toml").write_text("[[reply]]\nmatched = 1\n")
    with pytest.raises(ValueError, match=r"x.toml: reply.0.matched"):
        Recorder("http://127.0.0.1:9", tmp_path / "x.toml", print)


async def test_it_is_replayed_with_its_timing_or_faster_or_at_once():
    pieces = [[0.5 * number, text.decode()] for number, text in enumerate(frames("anthropic"), 1)]
    recorded = {"api": "anthropic", "stream": True, "chunks": pieces}
    script = Script.model_validate({"reply": [{"recorded": recorded}]})

    async def times(**pace):
        clock = asyncio.get_running_loop().time
        start = clock()
        model = Simulator(Pace(**pace), script, any_model=True)
        return [
            clock() - start
            async for _ in model.stream(ChatRequest(messages="Hi", model="theirs-1"))
        ]

    async def program():
        assert await times(replay=1) == pytest.approx([3, 5, 14])
        assert await times(replay=10) == pytest.approx([0.3, 0.5, 1.4])
        assert await times(first=3) == [0, 0, 0]

    await asyncio.to_thread(run_with_virtual_clock, program())


@pytest.mark.parametrize(
    "text",
    ['quotes " and \\ and \\u0041', "\x7f\x00\x1b\r\n\t", "\u2028\u2029\u0085", "🎈 e\u0301"],
)
async def test_the_file_keeps_any_text(recording, text):
    whole = json.loads(json.dumps(WHOLES["anthropic"]))
    whole["content"][0]["text"] = text
    raw = json.dumps(whole, ensure_ascii=False).encode()
    cut = raw.index(text[0].encode()[:1]) + 1
    recording.upstream.then(Answer([raw[:cut], raw[cut:]], media="application/json"))
    await recording.ask("anthropic", False, text)
    answer = await recording.replay().complete(ChatRequest(messages=text, model="theirs-1"))
    assert answer.message.content == text


async def test_a_credential_that_two_chunks_share_is_not_recorded(recording):
    raw = json.dumps(WHOLES["anthropic"]).replace("one", f"key {KEY}").encode()
    cut = raw.index(KEY.encode()) + 7
    recording.upstream.then(Answer([raw[:cut], raw[cut:]], media="application/json"))
    for headers in ({"x-api-key": KEY, "authorization": ""}, {"cookie": f"session={KEY}"}):
        await recording.ask("anthropic", False, f"my key is {KEY}!", **headers)
    assert KEY not in recording.file.read_text("utf-8")
    request = ChatRequest(messages=f"my key is {KEY}!", model="theirs-1")
    answer = await recording.replay().complete(request)
    assert answer.message.content.startswith("key [credential]")


def session(api, texts, system=None, **settings):
    """The request of an agent: what was said so far, from the user and the assistant in turn."""
    said = [
        {"role": r, "content": t} for r, t in zip(("user", "assistant") * 9, texts, strict=False)
    ]
    body = {"model": "theirs-1", "stream": False}
    body |= {"max_output_tokens" if api == "openai-responses" else "max_tokens": 9} | settings
    if api == "openai-responses":
        return body | ({"instructions": system} if system else {}) | {"input": said}
    if api == "anthropic":
        return body | {"messages": said} | ({"system": system} if system else {})
    first = [{"role": "system", "content": system}] if system else []
    return body | {"messages": [*first, *said]}


def saying(api, text):
    whole = json.dumps(WHOLES[api], ensure_ascii=False).replace("one — two", text)
    return page(200, json.loads(whole), "application/json")


ON = ("Begin.", "Yes.", "Go on.")
RECORDED = [
    (("Go on.",), None),
    (("Begin.", "No.", "Go on."), "Be brief."),
    (ON, "Be brief."),
    (ON, "Be kind."),
    (ON, "Be brief."),
    (("Begin.", "Yes.", "Go on.", "Fine.", "Go on."), "Be brief."),
]
REPLAYED = [  # the answer is the place of the recorded one
    ((ON, "Be kind."), 3),
    ((ON, "Be brief."), 2),
    ((ON, "Be brief."), 4),
    ((ON, "Be brief."), 4),
    ((("Begin.", "Yes.", "Go on.", "Fine.", "Go on."), "Today is Monday."), 5),
    ((("Begin.", "No.", "Go on."), "Today is Monday."), 1),
    ((ON, "Today is Monday."), 4),
    ((("Go on.",), None), 0),
    ((("Stop.", "No.", "Go on."), None), 5),
    ((("Go on.",), None), 0),
]


@pytest.mark.parametrize("api", PATHS)
async def test_the_same_request_comes_before_the_same_conversation_and_the_same_words(
    recording, api
):
    recording.upstream.then(*[saying(api, f"answer {n}") for n in range(len(RECORDED))])
    for texts, system in RECORDED:
        await recording.client.post(PATHS[api], json=session(api, texts, system))
    for other, path in PATHS.items():
        async with service(recording.replay()) as client:
            for (texts, system), number in REPLAYED:
                answer = await client.post(path, json=session(other, texts, system))
                assert f"answer {number}" in answer.text, (other, texts, system)


SETTINGS = {
    "temperature": 0.5,
    "stream": True,
    "max_tokens": 17,
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "thinking": {"type": "adaptive"},
}


@pytest.mark.parametrize("name", SETTINGS)
async def test_a_setting_is_a_part_of_the_same_request(recording, name):
    """Those that came first would be replayed first, if only the words counted."""
    recording.upstream.then(saying("anthropic", "answer 0"), saying("anthropic", "answer 1"))
    for settings in ({}, {name: SETTINGS[name]}):
        await recording.client.post("/v1/messages", json=session("anthropic", ON, **settings))
    async with service(recording.replay()) as client:
        settings = {name: SETTINGS[name]}
        answer = await client.post("/v1/messages", json=session("anthropic", ON, **settings))
        assert "answer 1" in answer.text
        answer = await client.post("/v1/messages", json=session("anthropic", ON))
        assert "answer 0" in answer.text


async def test_a_file_without_fingerprints_and_a_reply_by_hand_are_used_as_before(recording):
    recording.upstream.then(*[saying("anthropic", f"answer {number}") for number in range(3)])
    for _ in range(3):
        await recording.client.post("/v1/messages", json=session("anthropic", ON))
    text = recording.file.read_text()
    old = "\n".join(line for line in text.splitlines() if not line.startswith("request = "))
    recording.file.write_text(old + '\n[[reply]]\nmatch = "on"\ntext = "By hand."\n')
    async with service(recording.replay()) as client:
        for expected in ("answer 0", "answer 1", "answer 2", "By hand.", "By hand."):
            answer = await client.post("/v1/messages", json=session("anthropic", ON))
            assert expected in answer.text
    recording.file.write_text('[[reply]]\nmatch = "on"\ntext = "By hand."\n' + text)
    async with service(recording.replay()) as client:
        answer = await client.post("/v1/messages", json=session("anthropic", ON))
        assert "By hand." in answer.text


async def test_a_credential_in_the_words_is_in_no_fingerprint(recording):
    recording.upstream.then(saying("anthropic", "one"), saying("anthropic", "two"))
    for key in (KEY, KEY.replace("secret", "hidden")):
        body = session("anthropic", (f"My key is {key}.",))
        headers = {"authorization": f"Bearer {key}"}
        await recording.client.post("/v1/messages", json=body, headers=headers)
    lines = [line for line in recording.file.read_text().splitlines() if "request = " in line]
    assert len(lines) == 2
    assert len(set(lines)) == 1
