"""Bodies of many megabytes: parsed in steps as at once, refused in words, and beside others."""

import asyncio
import json
import time

import httpx
import pydantic_core
import pytest
from fastapi import FastAPI
from hypothesis import example, given
from hypothesis import strategies as st

from dual_mode_streaming import install
from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm import ChatRequest, LLMClient, Simulator, llm_routes
from dual_mode_streaming.llm.simulator._journal import Journal
from dual_mode_streaming.llm.wire._json_body import parse_json
from dual_mode_streaming.testing import StreamingTransport

TEXTS = st.text(st.sampled_from(list('a"\\\n/é😀\u2028\x7f{[,:]}0 ')), max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
)  # fmt: skip


@given(
    value=VALUES,
    step=st.integers(12, 40),
    is_ascii=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
@example(value="\\" * 50, step=12, is_ascii=True, indent=None)
@example(value='\\"' * 50, step=13, is_ascii=True, indent=None)
@example(value="😀" * 50, step=17, is_ascii=True, indent=None)
@example(value="aé😀" * 50, step=14, is_ascii=False, indent=None)
@example(value={"a": {"0": "1", "1": "0"}, "2": ["x" * 50]}, step=12, is_ascii=True, indent=None)
def test_a_body_parsed_in_steps_is_the_same(value, step, is_ascii, indent):
    content = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
    assert parse_json(content, 10_000, step) == pydantic_core.from_json(content)


@given(
    content=st.text(st.sampled_from(list('a"\\n{[,:]}0 \nué')), max_size=60),
    step=st.integers(12, 20),
)
@example(content='{"a": "b" "c": 1}          ', step=12)
@example(content='["\\ud83d", "                 "]', step=12)
@example(content='["' + "\\ud83d" * 5 + '"]', step=12)
@example(content="[NaN, 1e999]             ", step=12)
@example(content='{"a": 1, "a": "2"}               ', step=12)
@example(content='["' + "x" * 30, step=12)
@example(content='["' + "x" * 30 + "\n" + '"]', step=12)
@example(content="[" * 300, step=12)
def test_what_is_no_json_is_none_in_steps_either(content, step):
    try:
        expected = pydantic_core.from_json(content.encode(), allow_inf_nan=False)
    except ValueError:
        with pytest.raises(Problem, match="the body is not valid JSON: ") as raised:
            parse_json(content.encode(), 10_000, step)
        assert raised.value.status_code == 400
        return
    assert parse_json(content.encode(), 10_000, step) == expected


@pytest.mark.parametrize("content", [b"[" + b"1," * 600 + b"1]", b'"' * 1300, b"[" * 600])
def test_too_many_values_are_refused_before_they_are_parsed(content):
    with pytest.raises(Problem) as raised:
        parse_json(content, 500, 100)
    assert raised.value.status_code in (400, 413)


def asked(path, content):
    if path == "/v1/responses":
        return {"model": "simulator", "max_output_tokens": 20, "input": content}
    return {"model": "simulator", "max_tokens": 20, "messages": content}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses"])
async def test_a_session_of_many_rounds_is_taken_and_one_without_end_is_not(path):
    app = FastAPI()
    install(app, store="memory", body_values=1000)
    app.include_router(llm_routes(LLMClient(Simulator()), body_values=30_000))

    @app.post("/other")
    def other(body: list[int]) -> int:
        return len(body)

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=StreamingTransport(app), base_url="http://x") as http,
    ):
        rounds = [{"role": "user", "content": f"number {n} " + "x" * 90} for n in range(3000)]
        answer = await http.post(path, json=asked(path, rounds))
        assert answer.status_code == 200, answer.text
        assert "number 2999" in answer.text
        answer = await http.post(path, json=asked(path, rounds * 3))
        assert answer.status_code == 413
        assert "more than 30000 JSON values" in answer.json()["error"]["message"]
        assert (await http.post("/other", json=[1] * 1500)).status_code == 413


def test_the_answer_to_a_large_request_depends_on_its_newest_messages():
    def digest(*texts):
        return ChatRequest(messages=[{"role": "user", "content": text} for text in texts]).digest()

    long = "x" * 1_500_000
    assert digest("a", "b") != digest("c", "b")
    assert digest("a", long) == digest("c", long) != digest("a", "y" + long)
    assert digest(*["a"] * 3, "b") != digest(*["a"] * 3, "c")


LARGEST = 32 * 1024 * 1024 - 1000
FILLED = {
    "one string": (b'"', b"x", b'"'),
    "escapes": (b'"', b"\\n", b'"'),
    "beyond ASCII": (b'"', "é😀".encode(), b'"'),
    "an image": (b'[{"type": "image", "source": {"type": "base64", "data": "', b"AAAA", b'"}}]'),
    "numbers": (b"[", b"1,", b"1]"),
    "objects": (b"[", b"{},", b"{}]"),
    "short strings": (b"[", b'"abcdefgh",', b'""]'),
    "deep": (b"", b'{"a":', b"1"),
    "not closed": (b'"', b"\\n", b""),
    "a wrong escape": (b'"', b"x", b'\\q"'),
    "quotes": (b"[", b'"', b"]"),
}


@pytest.mark.full
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize("name", FILLED)
async def test_the_event_loop_has_its_turns_beside_32_megabytes(name, path):
    head, unit, tail = FILLED[name]
    if path != "/v1/messages":
        head, tail = (b'"', b'"') if name == "an image" else (head, tail)
    start = json.dumps(asked(path, [{"role": "user", "content": 0}])).encode()
    start, end = start.split(b"0}]")
    start += head
    body = start + unit * ((LARGEST - len(start) - len(tail)) // len(unit)) + tail + b"}]" + end
    app = FastAPI()
    install(app, store="memory")
    app.include_router(llm_routes(LLMClient(Simulator(journal=Journal(0)))))

    async def chunks():
        for at in range(0, len(body), 65536):
            yield body[at : at + 65536]

    longest = 0.0
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=StreamingTransport(app), base_url="http://x") as http,
    ):
        posting = asyncio.create_task(http.post(path, content=chunks()))
        while not posting.done():
            before = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)
        answer = await posting
    print(f"{name}: {answer.status_code}, the longest turn takes {longest * 1000:.0f} ms of CPU")
    assert answer.status_code in (200, 400, 413), answer.text
    assert longest < 0.1
