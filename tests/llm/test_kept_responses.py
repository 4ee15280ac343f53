"""Answers of `/v1/responses` that are kept as OpenAI keeps them: read, deleted and continued."""

import asyncio

import openai
import pytest

from dual_mode_streaming.limits import Admission
from tests.llm.test_background_responses import (  # noqa: F401
    WORDS,
    ended,
    events_of,
    store,
    two,
    worker,
)

ASKED = {"model": "m", "input": "Hello"}


async def answered(responses, *, stream, **fields):
    """The response of a request in the foreground, and the events before its end."""
    made = await responses.create(**ASKED | fields, stream=stream)
    return (await events_of(made))[-1].response if stream else made


async def until_refused(call, *given):
    async with asyncio.timeout(60):
        while True:
            await call(*given)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_kept_continued_and_deleted(two, stream):  # noqa: F811
    one, other = two
    one.model.allow()
    made = await answered(one.responses, stream=stream, instructions="Be brief.")
    assert made.store is True
    assert await other.responses.retrieve(made.id) == made
    items = await other.responses.input_items.list(made.id)
    assert [item.content[0].text for item in items.data] == ["Hello"]
    other.model.allow()
    again = await answered(
        other.responses, stream=stream, input="Again", previous_response_id=made.id
    )
    assert again.previous_response_id == made.id
    said = [(each.role, each.content) for each in other.model.requests[-1].messages]
    assert said == [("user", "Hello"), ("assistant", "".join(WORDS)), ("user", "Again")]
    await one.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await other.responses.retrieve(made.id)
    assert await one.responses.retrieve(again.id) == again


@pytest.mark.parametrize("stream", [False, True])
async def test_an_item_is_named_to_any_worker(two, stream):  # noqa: F811
    one, other = two
    one.model.allow()
    made = await answered(one.responses, stream=stream)
    named = {"type": "item_reference", "id": made.output[0].id}
    for each in (one, other):
        for reference in (named, {"id": named["id"]}):
            each.model.allow()
            asked = [
                {"role": "user", "content": "Hello"},
                reference,
                {"role": "user", "content": "So?"},
            ]
            await answered(each.responses, stream=stream, input=asked)
            said = [message.content for message in each.model.requests[-1].messages]
            assert said == ["Hello", "".join(WORDS), "So?"]
    for identity in (f"{named['id']}0", "msg_0_0", "rs_x"):
        with pytest.raises(openai.NotFoundError, match="send the item itself"):
            await answered(other.responses, stream=stream, input=[{"id": identity}])


async def test_another_owner_does_not_get_an_item_by_its_id(store):  # noqa: F811
    admission = Admission(keys=["a" * 20, "b" * 20])
    async with (
        worker(store, admission=admission) as one,
        worker(store, admission=admission) as other,
    ):
        one.model.allow()
        made = await answered(one.client("a" * 20).responses, stream=False)
        theirs = other.client("b" * 20).responses
        with pytest.raises(openai.NotFoundError):
            await theirs.create(model="m", input=[{"id": made.output[0].id}])


async def test_an_answer_in_the_foreground_is_neither_cancelled_nor_streamed_again():
    async with worker() as one:
        one.model.allow()
        made = await answered(one.responses, stream=False)
        with pytest.raises(openai.BadRequestError, match="synchronous"):
            await one.responses.cancel(made.id)
        with pytest.raises(openai.BadRequestError, match="background"):
            await one.responses.retrieve(made.id, stream=True)


@pytest.mark.parametrize(
    ("installed", "fields"), [(True, {"store": False}), (False, {}), (False, {"store": True})]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_not_kept_says_so(installed, fields, stream):
    async with worker(installed=installed) as one:
        one.model.allow()
        made = await answered(one.responses, stream=stream, **fields)
        assert made.store is False
        with pytest.raises(openai.NotFoundError):
            await one.responses.retrieve(made.id)


async def test_a_failed_answer_is_not_kept():
    async with worker() as one:
        one.model.allow()
        stream = await one.responses.create(**ASKED | {"input": "fails"}, stream=True)
        begun = await anext(aiter(stream))
        with pytest.raises(openai.APIError):
            await events_of(stream)
        with pytest.raises(openai.NotFoundError):
            await one.responses.retrieve(begun.response.id)


async def test_another_owner_does_not_see_an_answer():
    keys = ["a" * 20, "b" * 20]
    async with worker(admission=Admission(keys=keys)) as one:
        mine, theirs = (one.client(key).responses for key in keys)
        one.model.allow()
        made = await answered(mine, stream=False)
        for call in (theirs.retrieve, theirs.delete, theirs.input_items.list):
            with pytest.raises(openai.NotFoundError):
                await call(made.id)
        assert await mine.retrieve(made.id) == made


async def test_a_response_is_forgotten_after_the_retention(store):  # noqa: F811
    async with worker(store, retention=0.2) as one:
        one.model.allow(2 * len(WORDS))
        made = await answered(one.responses, stream=False)
        behind = await one.responses.create(**ASKED, background=True)
        for identity in (made.id, behind.id):
            with pytest.raises(openai.NotFoundError):
                await until_refused(one.responses.retrieve, identity)
            with pytest.raises(openai.BadRequestError) as refused:
                await one.responses.create(**ASKED, previous_response_id=identity)
            assert refused.value.code == "previous_response_not_found"


async def test_a_full_store_refuses_the_background_and_keeps_no_answer(store):  # noqa: F811
    async with worker(store, streams=1) as one:
        running = await one.responses.create(**ASKED, background=True)
        with pytest.raises(openai.APIStatusError, match="all of them are running") as refused:
            await one.responses.create(**ASKED, background=True)
        assert refused.value.status_code == 503
        made = await answered(one.responses, stream=False, input="at once")
        with pytest.raises(openai.NotFoundError):
            await one.responses.retrieve(made.id)
        one.model.allow()
        await ended(one.responses, running.id)
        newer = await answered(one.responses, stream=True, input="at once")  # instead of the oldest
        assert await one.responses.retrieve(newer.id) == newer
        with pytest.raises(openai.NotFoundError):
            await one.responses.retrieve(running.id)


async def test_an_answer_larger_than_a_stream_is_not_kept():
    async with worker(stream_bytes=2000) as one:
        one.model.allow()
        made = await answered(one.responses, stream=False, input="x" * 2000)
        with pytest.raises(openai.NotFoundError):
            await one.responses.retrieve(made.id)


async def test_the_tokens_of_a_request_are_counted():
    async with worker() as one:
        counted = await one.responses.input_tokens.count(model="m", input="Hello")
        assert (counted.object, counted.input_tokens) == ("response.input_tokens", 2)
        one.model.allow()
        made = await answered(one.responses, stream=False)
        await one.responses.input_tokens.count(input="Again", previous_response_id=made.id)
        assert len(one.model.counted[-1].messages) == 3
        assert one.model.counted[-1].model == one.model.default_model
        with pytest.raises(openai.BadRequestError, match="input"):
            await one.responses.input_tokens.count(model="m")
        with pytest.raises(openai.BadRequestError) as refused:
            await one.responses.input_tokens.count(input="x", previous_response_id="resp_0")
        assert refused.value.code == "previous_response_not_found"


@pytest.mark.parametrize("kept", ["short", "long " * 100_000])
async def test_what_continues_a_large_response_is_handled_as_a_large_request(kept):
    async with worker() as one:
        one.model.allow(2 * len(WORDS))
        made = await answered(one.responses, stream=False, input=kept)
        assert await answered(one.responses, stream=False, previous_response_id=made.id)
        await one.responses.input_tokens.count(**ASKED, previous_response_id=made.id)
        first, second = one.model.requests
        assert first.is_large is second.is_large is one.model.counted[-1].is_large
        assert second.is_large is (len(kept) > 1000)
