"""A worker that answers front ends is killed: what its readers see, and what another one does."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys

import httpx
import pytest

from dual_mode_streaming.testing import serving
from tests.conftest import ROOT
from tests.llm.frontend_worker import WORDS, app_of
from tests.llm.test_frontends import (
    chunks_of,
    kinds,
    rest,
    streamed,
    ui,
)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.full)])
def store(request, tmp_path):
    if request.param == "redis":
        return request.getfixturevalue("redis").url
    return f"sqlite:{tmp_path / 'file'}"


async def some(chunks, kind):
    """The chunks to the first one of a kind."""
    seen = [await anext(chunks)]
    while seen[-1]["type"] != kind:
        seen.append(await anext(chunks))
    return seen


async def test_a_killed_worker_never_looks_like_the_end_of_an_answer(store):
    program = [sys.executable, "-m", "tests.llm.frontend_worker", store]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(process.stdout.close)
        stack.callback(process.wait)
        stack.callback(process.kill)
        dying = f"http://127.0.0.1:{int(process.stdout.readline())}"
        url = await stack.enter_async_context(serving(app_of(store, waits=False)))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60))
        begun = {}
        for path, kind, body in (
            ("/chat", "text-delta", ui()),
            ("/run", "TEXT_MESSAGE_CONTENT", {"runId": "r"}),
            ("/resumed", "TEXT_MESSAGE_CONTENT", {"runId": "r"}),
        ):
            answer = streamed(client, "POST", dying + path, json=body)
            _, chunks = await stack.enter_async_context(answer)
            begun[path] = (chunks, await some(chunks, kind))
        joined = {}
        for path, query in (
            ("/chat", "/chat/c-1/stream"),
            ("/run", "/run?offset=-1&runId=r"),
            ("/resumed", "/resumed?runId=r"),
        ):
            _, joined[path] = await stack.enter_async_context(streamed(client, "GET", query))
            seen = begun[path][1]
            assert [await anext(joined[path]) for _ in seen] == seen
        os.kill(process.pid, signal.SIGKILL)
        for chunks, _ in begun.values():
            with pytest.raises(httpx.RemoteProtocolError):
                await rest(chunks)
        async with asyncio.timeout(60):
            ends = {path: await rest(chunks) for path, chunks in joined.items()}
        assert kinds(ends["/chat"]) == ["text-end", "error", "[DONE]"]
        assert kinds(ends["/run"]) == ["TEXT_MESSAGE_END", "RUN_ERROR"]
        assert kinds(ends["/resumed"])[-1] == "RUN_FINISHED"
        whole = [*begun["/resumed"][1], *ends["/resumed"]]
        assert "".join(chunk.get("delta", "") for chunk in whole) == "".join(WORDS)
        assert (await client.get("/chat/c-1/stream")).status_code == 204
        again = await client.post("/run", json={"runId": "r"})
        assert kinds(chunks_of(again.content))[-1] == "RUN_ERROR", "the same run, not another one"
        again = await client.post("/chat", json=ui())
        assert kinds(chunks_of(again.content))[-2:] == ["finish", "[DONE]"]
