"""Responses in the background, with the official SDK: made, read again, cancelled and continued."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx2
import openai
import pytest
from fastapi import FastAPI

from dual_mode_streaming import install
from dual_mode_streaming.limits import Admission
from dual_mode_streaming.llm import (
    EventType,
    LLMClient,
    ProviderError,
    StreamEvent,
    TextDelta,
    Usage,
    collect,
    llm_routes,
)
from dual_mode_streaming.stores import Limits
from dual_mode_streaming.testing import serving
from tests.conftest import ROOT

WORDS = ("One ", "two ", "three.")


class GatedModel:
    """A provider that says a word whenever the test allows it, or all "at once"; one "fails"."""

    name = default_model = "gated"

    def __init__(self):
        self.requests = []
        self.counted = []
        self.allowed = asyncio.Semaphore(0)
        self.closed = asyncio.Event()

    def allow(self, count=len(WORDS)):
        for _ in range(count):
            self.allowed.release()

    async def stream(self, request):
        self.requests.append(request)
        try:
            for number, word in enumerate(WORDS):
                if request.messages[-1].content != "at once":
                    await self.allowed.acquire()
                if number and request.messages[-1].content == "fails":
                    raise ProviderError("the model is ill", "overloaded", status=529)
                yield StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=word))
            usage = Usage(input_tokens=2, output_tokens=3)
            yield StreamEvent(type=EventType.MESSAGE_COMPLETE, finish_reason="stop", usage=usage)
        finally:
            self.closed.set()

    async def complete(self, request):
        return await collect(self.stream(request))

    async def models(self):
        return [self.name]

    async def count_tokens(self, request):
        self.counted.append(request)
        return 2

    def estimate_tokens(self, request):
        return 2

    async def aclose(self):
        pass


class Worker:
    """An app on a store, on a real socket, and the SDK for it."""

    def __init__(self, url, model=None):
        self.url = url
        self.model = model
        self.http = httpx2.AsyncClient(verify=False, timeout=60)

    def client(self, key="k"):
        return openai.AsyncOpenAI(
            base_url=f"{self.url}/v1",
            api_key=key,
            max_retries=0,
            _strict_response_validation=True,
            http_client=self.http,
        )

    @property
    def responses(self):
        return self.client().responses


@contextlib.asynccontextmanager
async def worker(store="memory", *, installed=True, admission=None, **limits) -> AsyncIterator:
    model = GatedModel()
    app = FastAPI()
    if installed:
        owner = (admission or Admission()).owner
        install(app, store=store, limits=Limits(**limits), signals=False, owner=owner)
    app.include_router(llm_routes(LLMClient(model, attempts=1), admission=admission))
    async with serving(app) as url:
        made = Worker(url, model)
        async with made.http:
            yield made


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.full)])
def store(request, tmp_path):
    if request.param == "redis":
        server = request.getfixturevalue("redis")
        server.ask("FLUSHALL")
        return server.url
    return f"sqlite:{tmp_path / 'file'}" if request.param == "sqlite" else request.param


@pytest.fixture
async def two(store):
    """Two workers on one store, or one in memory twice."""
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(worker(store))
        shares = store != "memory"
        yield one, await stack.enter_async_context(worker(store)) if shares else one


async def ended(responses, identity):
    """The response when it has ended."""
    async with asyncio.timeout(60):
        async for event in await responses.retrieve(identity, stream=True):
            last = event
    response = await responses.retrieve(identity)
    assert last.response == response
    return response


async def events_of(stream):
    return [event async for event in stream]


def numbers(events):
    return [event.sequence_number for event in events]


async def test_a_response_is_made_in_the_background_and_read_by_any_worker(two):
    one, other = two
    made = await one.responses.create(model="m", input="Hello", background=True)
    assert (made.status, made.background, made.store) == ("queued", True, True)
    running = await other.responses.retrieve(made.id)
    assert (running.id, running.status, running.output) == (made.id, "in_progress", [])
    one.model.allow()
    response = await ended(other.responses, made.id)
    assert (response.status, response.output_text) == ("completed", "".join(WORDS))
    assert (response.id, response.created_at) == (made.id, made.created_at)
    assert response.usage.total_tokens == 5


async def test_a_stream_goes_on_after_any_number_exactly_once(two):
    one, other = two
    stream = await one.responses.create(model="m", input="Hello", background=True, stream=True)
    first = await anext(aiter(stream))
    await stream.close()  # the response goes on
    one.model.allow()
    whole = await events_of(await other.responses.retrieve(first.response.id, stream=True))
    assert whole[0] == first
    assert numbers(whole) == list(range(len(whole)))
    assert whole[-1].type == "response.completed"
    for after in range(len(whole)):
        rest = await one.responses.retrieve(first.response.id, stream=True, starting_after=after)
        assert await events_of(rest) == whole[after + 1 :]


async def test_a_reader_that_comes_after_a_number_waits_for_what_follows(two):
    one, other = two
    made = await one.responses.create(model="m", input="Hello", background=True)
    one.model.allow(1)
    follow = await other.responses.retrieve(made.id, stream=True, starting_after=1)
    seen = []
    async for event in follow:
        seen.append(event)
        if event.type == "response.output_text.delta":
            one.model.allow(1)
    assert numbers(seen) == list(range(2, 2 + len(seen)))
    assert seen[-1].response.output_text == "".join(WORDS)


async def test_a_cancellation_by_any_worker_ends_the_call_of_the_model(two):
    one, other = two
    made = await one.responses.create(model="m", input="Hello", background=True)
    one.model.allow(1)
    stream = await one.responses.retrieve(made.id, stream=True)
    while (await anext(aiter(stream))).type != "response.output_text.delta":
        pass
    cancelled = await other.responses.cancel(made.id)
    assert (cancelled.id, cancelled.status) == (made.id, "cancelled")
    assert one.model.closed.is_set()
    rest = await events_of(stream)
    assert rest[-1].response == cancelled
    again = await one.responses.cancel(made.id)
    assert again == cancelled == await ended(one.responses, made.id)
    whole = await events_of(await other.responses.retrieve(made.id, stream=True))
    assert numbers(whole) == list(range(len(whole)))


async def test_a_response_that_has_ended_is_not_cancelled_any_more(two):
    one, other = two
    made = await one.responses.create(model="m", input="Hello", background=True)
    one.model.allow()
    response = await ended(other.responses, made.id)
    assert await other.responses.cancel(made.id) == response


async def test_a_deleted_response_is_gone_and_its_model_stops(two):
    one, other = two
    made = await one.responses.create(model="m", input="Hello", background=True)
    await other.responses.delete(made.id)
    for call in (other.responses.retrieve, one.responses.delete, one.responses.cancel):
        with pytest.raises(openai.NotFoundError):
            await call(made.id)
    async with asyncio.timeout(60):
        await one.model.closed.wait()


async def test_a_failure_of_the_model_is_told_by_the_object_and_by_the_last_event(two):
    one, other = two
    made = await one.responses.create(model="m", input="fails", background=True)
    one.model.allow()
    response = await ended(other.responses, made.id)
    assert (response.status, response.error.message) == ("failed", "the model is ill")
    assert response.error.code == "server_error"
    whole = await events_of(await other.responses.retrieve(made.id, stream=True))
    assert whole[-1].type == "response.failed"
    assert numbers(whole) == list(range(len(whole)))


async def test_a_response_continues_another_for_as_long_as_that_is_kept(two):
    one, other = two
    made = await one.responses.create(
        model="m", input="Hello", instructions="Be brief.", background=True
    )
    one.model.allow()
    await ended(one.responses, made.id)
    other.model.allow()
    second = await other.responses.create(
        model="m", input="Again", background=True, previous_response_id=made.id
    )
    assert second.previous_response_id == made.id
    await ended(other.responses, second.id)
    third = {"model": "m", "input": [{"role": "user", "content": "Last"}]}
    one.model.allow()
    last = await one.responses.create(**third, background=True, previous_response_id=second.id)
    await ended(one.responses, last.id)
    said = [(each.role, each.content) for each in one.model.requests[-1].messages]
    answer = ("assistant", "".join(WORDS))
    assert said == [("user", "Hello"), answer, ("user", "Again"), answer, ("user", "Last")]
    await one.responses.delete(second.id)
    with pytest.raises(openai.BadRequestError) as refused:
        await other.responses.create(**third, previous_response_id=second.id)
    assert refused.value.code == "previous_response_not_found"


async def test_a_running_response_is_not_continued(two):
    one, _ = two
    made = await one.responses.create(model="m", input="Hello", background=True)
    with pytest.raises(openai.BadRequestError, match="in_progress"):
        await one.responses.create(model="m", input="So?", previous_response_id=made.id)


async def test_the_items_of_the_input_are_listed_in_pages(two):
    one, other = two
    given = [{"role": "user", "content": f"part {n}"} for n in range(5)]
    made = await one.responses.create(model="m", input=given, background=True)
    items = other.responses.input_items
    texts = [item.content[0].text async for item in items.list(made.id, limit=2)]
    assert texts == [f"part {n}" for n in reversed(range(5))]
    page = await items.list(made.id, order="asc", limit=3)
    assert [item.content[0].text for item in page.data] == ["part 0", "part 1", "part 2"]
    assert page.has_more
    rest = await items.list(made.id, order="asc", after=page.data[-1].id)
    assert [item.content[0].text for item in rest.data] == ["part 3", "part 4"]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"order": "up"}, {"after": "x"}])
async def test_a_wrong_page_is_refused(query):
    async with worker() as one:
        made = await one.responses.create(model="m", input="Hello", background=True)
        with pytest.raises(openai.BadRequestError) as refused:
            await one.responses.input_items.list(made.id, extra_query=query)
        assert refused.value.param in query


@pytest.mark.parametrize("name", ["resp_" + "0" * 32, "resp_x", "0" * 32, "resp_" + "A" * 32])
async def test_an_unknown_response_is_a_404(name):
    async with worker() as one:
        responses = one.responses
        for call in (
            responses.retrieve,
            responses.cancel,
            responses.delete,
            responses.input_items.list,
        ):
            with pytest.raises(openai.NotFoundError, match=name):
                await call(name)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"stream": "true", "starting_after": 2}, "starting_after"),
        ({"stream": "true", "starting_after": -1}, "starting_after"),
        ({"stream": "true", "starting_after": "x"}, "starting_after"),
        ({"starting_after": 0}, "starting_after"),
        ({"stream": "perhaps"}, "stream"),
    ],
)
async def test_a_wrong_position_is_refused(query, param):
    async with worker() as one:
        made = await one.responses.create(model="m", input="Hello", background=True)
        with pytest.raises(openai.BadRequestError) as refused:
            await one.responses.retrieve(made.id, extra_query=query)
        assert refused.value.param == param


@pytest.mark.parametrize("fields", [{"store": False}, {"extra_body": {"background": "yes"}}])
async def test_a_background_that_cannot_be_is_refused(fields):
    async with worker() as one:
        with pytest.raises(openai.BadRequestError, match="background"):
            await one.responses.create(**{"model": "m", "input": "x", "background": True} | fields)
        assert not one.model.requests


async def test_an_app_that_keeps_nothing_says_so():
    async with worker(installed=False) as one:
        with pytest.raises(openai.BadRequestError, match="install") as refused:
            await one.responses.create(model="m", input="Hello", background=True)
        assert (refused.value.param, refused.value.code) == ("background", "unsupported_value")
        with pytest.raises(openai.NotFoundError):
            await one.responses.retrieve("resp_" + "0" * 32)


async def test_another_key_has_other_responses():
    async with worker(admission=Admission(keys=["a" * 20, "b" * 20])) as one:
        mine, theirs = one.client("a" * 20).responses, one.client("b" * 20).responses
        made = await mine.create(model="m", input="Hello", background=True)
        for call in (
            theirs.retrieve,
            theirs.cancel,
            theirs.delete,
            theirs.input_items.list,
        ):
            with pytest.raises(openai.NotFoundError):
                await call(made.id)
        with pytest.raises(openai.BadRequestError):
            await theirs.create(model="m", input="So?", previous_response_id=made.id)
        with pytest.raises(openai.AuthenticationError):
            await one.client("c" * 20).responses.retrieve(made.id)
        assert (await mine.retrieve(made.id)).status == "in_progress"


async def test_a_model_that_works_in_the_background_counts_and_can_be_cancelled():
    async with worker(admission=Admission(keys=["a" * 20], key_streams=1)) as one:
        responses = one.client("a" * 20).responses
        stream = await responses.create(model="m", input="Hello", background=True, stream=True)
        made = (await anext(aiter(stream))).response
        with pytest.raises(openai.RateLimitError):
            await responses.create(model="m", input="Hello", background=True)
        assert (await responses.retrieve(made.id)).status == "in_progress"
        assert (await responses.cancel(made.id)).status == "cancelled"
        await stream.close()
        next_one = await responses.create(model="m", input="Hello", background=True)
        assert (await responses.cancel(next_one.id)).status == "cancelled"


async def test_a_request_that_is_repeated_with_its_key_makes_one_response(two):
    one, other = two
    asked = {"model": "m", "input": "Hello", "background": True}
    header = {"extra_headers": {"Idempotency-Key": "once"}}
    made = await one.responses.create(**asked, **header)
    again = await other.responses.create(**asked, **header)
    assert again.id == made.id
    one.model.allow()
    await ended(one.responses, made.id)
    with pytest.raises(openai.BadRequestError, match="Idempotency-Key"):
        await other.responses.create(**asked | {"input": "Other"}, **header)


async def test_a_shutdown_ends_a_response_as_failed(tmp_path):
    store = f"sqlite:{tmp_path / 'file'}"
    async with worker(store) as one:
        async with worker(store) as leaving:
            made = await leaving.responses.create(model="m", input="Hello", background=True)
        response = await ended(one.responses, made.id)
        assert (response.status, response.error.code) == ("failed", "server_error")
        whole = await events_of(await one.responses.retrieve(made.id, stream=True))
        assert (whole[-1].type, numbers(whole)) == ("response.failed", [0, 1, 2])


async def test_the_response_of_a_killed_worker_fails_and_its_readers_are_told(tmp_path):
    store = f"sqlite:{tmp_path / 'file'}"
    program = [sys.executable, "-m", "tests.llm.background_worker", store]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        async with worker(store, lease=1.0) as one, contextlib.AsyncExitStack() as stack:
            dying = Worker(url)
            stack.push_async_callback(dying.http.aclose)
            made = await dying.responses.create(model="simulator", input="Hello", background=True)
            stopped = await dying.responses.create(
                model="simulator", input="Hello", background=True
            )
            stream = await one.responses.retrieve(made.id, stream=True)
            seen = [await anext(aiter(stream))]
            while seen[-1].type != "response.output_text.delta":
                seen.append(await anext(aiter(stream)))
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert (await one.responses.cancel(stopped.id)).status == "cancelled"
            async with asyncio.timeout(60):
                seen += await events_of(stream)
            assert seen[-1].type == "response.failed"
            assert numbers(seen) == list(range(len(seen)))
            failed = await one.responses.retrieve(made.id)
            assert (failed.status, failed.error.code) == ("failed", "server_error")
            assert failed == seen[-1].response
            assert (await ended(one.responses, stopped.id)).status == "cancelled"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_the_stored_events_are_json_of_one_line_each(two):
    one, _ = two
    made = await one.responses.create(model="m", input="Hello", background=True)
    one.model.allow()
    url = f"{one.url}/v1/responses/{made.id}"
    answer = await one.http.get(url, params={"stream": "true"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    for frame in answer.text.strip().split("\n\n"):
        name, data = frame.split("\n")
        assert json.loads(data.removeprefix("data: "))["type"] == name.removeprefix("event: ")
