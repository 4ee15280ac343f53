"""The protocol of recorded streams, as docs/protocol.md specifies it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI

from dual_mode_streaming import dual_mode
from dual_mode_streaming.testing import StreamingTransport, read_events
from dual_mode_streaming.web.recorded._registry import registry_of

from .stage import EVENTS, Stage, events_of, names_and_data, on_every_store, running


@on_every_store
async def test_a_recording_is_answered_in_every_mode_and_read_again_in_every_mode(http, stage):
    batch = await http.get("/count")
    assert batch.json() == {"data": [{"n": n} for n in range(5)]}
    again = await http.get(batch.headers["location"])
    assert (again.status_code, again.json()) == (200, batch.json())
    events = await events_of(http, batch.headers["location"])
    assert names_and_data(events) == [(None, f'{{"n":{n}}}') for n in range(5)] + [
        ("done", '{"items":5}')
    ]
    stream = batch.headers["location"].removeprefix("/streams/")
    assert [event.id for event in events] == [f"{stream}.1.{n}" for n in range(1, 7)]
    lines = await http.get(batch.headers["location"], headers={"accept": "application/jsonl"})
    assert lines.text == "".join(f'{{"n":{n}}}\n' for n in range(5))
    assert stage.starts == 1


@on_every_store
async def test_a_place_in_it_is_gone_on_from(http):
    url = (await http.get("/count")).headers["location"]
    events = await events_of(http, url)
    for number, event in enumerate(events[:-1], start=1):
        shown = {"last-event-id": event.id}
        assert await events_of(http, url, **shown) == events[number:]
        assert await events_of(http, f"{url}?last_event_id={event.id}") == events[number:]
    for other in (f"{url}?last_event_id={events[0].id}", f"{url}?from=start"):
        end = await http.get(other, headers={**EVENTS, "last-event-id": events[-1].id})
        assert end.status_code == 204  # the header beats the query
    assert (await http.get(f"{url}?from=now", headers=EVENTS)).status_code == 204


@on_every_store
async def test_the_producer_runs_on_when_its_reader_leaves_and_others_join(http, stage):
    stage.gate.clear()
    async with http.stream("GET", "/count?gate_at=2", headers=EVENTS) as response:
        url = response.headers["location"]
        events = read_events(response)
        first = [await anext(events), await anext(events)]
        await events.aclose()
    assert not stage.closed.is_set()
    joined = [asyncio.create_task(events_of(http, url)) for _ in range(3)]
    resumed = asyncio.create_task(events_of(http, url, **{"last-event-id": first[-1].id}))
    running = await http.get(url)
    assert (running.status_code, running.headers["retry-after"]) == (202, "1")
    assert running.json()["state"] == "running"
    waiting = asyncio.create_task(http.get(f"{url}?wait=10"))
    await asyncio.sleep(0.01)
    stage.gate.set()
    whole = await joined[0]
    assert await asyncio.gather(*joined) == [whole] * 3
    assert first + await resumed == whole
    assert (await waiting).json() == {"data": [{"n": n} for n in range(5)]}


async def test_an_event_source_comes_back_to_the_url_it_was_opened_with(http, stage):
    events = await events_of(http, "/count?upto=4")
    back = await events_of(http, "/count?upto=4", **{"last-event-id": events[1].id})
    assert back == events[2:]
    shown = {**EVENTS, "last-event-id": events[-1].id}
    assert (await http.get("/count?upto=4", headers=shown)).status_code == 204
    other = await http.get("/count?upto=5", headers=shown)
    assert other.status_code == 400
    assert "another request" in other.json()["detail"]
    # The flag says how to answer, not what was asked.
    assert (await http.get("/count?stream=true&upto=4", headers=shown)).status_code == 204
    assert stage.starts == 1


@pytest.mark.parametrize("shown", ["0" * 32 + ".1.3", "abc.7", "0123456789.end x", "x" * 1000])
async def test_a_cursor_of_what_is_not_there_starts_afresh_and_says_so(http, stage, shown):
    reset, *events = await events_of(http, "/count", **{"last-event-id": shown})
    assert reset.event == "reset"
    assert shown[:200] in reset.data
    assert names_and_data(events)[-1] == ("done", '{"items":5}')
    assert stage.starts == 1


async def test_whose_a_stream_is(http, stage):
    mine = {"authorization": "Bearer me"}
    url = (await http.get("/count", headers=mine)).headers["location"]
    assert (await http.get(url, headers=mine)).status_code == 200
    cursor = f"{url.removeprefix('/streams/')}.1.2"
    for headers in ({}, {"authorization": "Bearer you"}, {"x-api-key": "you"}):
        assert (await http.get(url, headers=headers)).status_code == 404
        assert (await http.post(f"{url}/cancel", headers=headers)).status_code == 404
        assert (await http.delete(url, headers=headers)).status_code == 404
        reset, *_ = await events_of(http, "/count", **headers, **{"last-event-id": cursor})
        assert reset.event == "reset"
    assert (await http.get(url, headers={"x-api-key": "me"})).status_code == 200


@on_every_store
async def test_a_request_with_an_idempotency_key_is_answered_once(http, stage):
    key = {"idempotency-key": "k1"}
    one, two = await asyncio.gather(
        *(http.post("/sum", json=[1, 2, 3], headers=key) for _ in range(2))
    )
    assert one.json() == two.json() == {"total": 6}
    assert one.headers["location"] == two.headers["location"]
    other = await http.post("/sum", json=[4], headers=key)
    assert other.status_code == 422
    assert "Idempotency-Key" in other.json()["detail"]
    mine = await http.post("/sum", json=[4], headers={**key, "x-api-key": "me"})
    assert mine.json() == {"total": 4}


async def test_an_answer_can_be_asked_for_later(http):
    prefer = {"prefer": "respond-async"}
    accepted = await http.post("/sum", json=[1, 2], headers=prefer)
    assert accepted.status_code == 202
    assert accepted.headers["preference-applied"] == "respond-async"
    url = accepted.headers["location"]
    done = await http.get(f"{url}?wait=5")
    assert done.json() == {"total": 3}
    tag = done.headers["etag"]
    same = await http.get(url, headers={"if-none-match": tag})
    assert (same.status_code, same.content) == (304, b"")


@on_every_store
async def test_stopping_is_not_leaving(http, stage):
    stage.gate.clear()
    async with http.stream("GET", "/count?gate_at=2", headers=EVENTS) as response:
        url = response.headers["location"]
        events = read_events(response)
        seen = [await anext(events), await anext(events)]
        for _ in range(2):
            stopped = await http.post(f"{url}/cancel")
            assert stopped.status_code == 200
            assert stopped.json()["state"] == "cancelled"
            assert stopped.json()["items"] == 2
        seen += [event async for event in events]
    assert stage.closed.is_set()
    assert names_and_data(seen)[-1] == ("cancelled", '{"items":2}')
    assert await events_of(http, url) == seen
    document = await http.get(url)
    assert document.status_code == 409
    assert "cancelled after 2 items" in document.json()["detail"]


@on_every_store
async def test_a_deleted_stream_is_not_there(http, stage):
    stage.gate.clear()
    async with http.stream("GET", "/count?gate_at=1", headers=EVENTS) as response:
        url = response.headers["location"]
        events = read_events(response)
        first = await anext(events)
        assert (await http.delete(url)).status_code == 204
        (gone,) = [event async for event in events]
    assert (gone.event, json.loads(gone.data)["status"]) == ("error", 410)
    assert gone.id == first.id, "it has none of its own"
    await asyncio.wait_for(stage.closed.wait(), 60)
    for response in (await http.get(url), await http.delete(url), await http.post(f"{url}/cancel")):
        assert response.status_code == 404


async def test_a_failure_before_the_first_item_has_its_status(http):
    for headers in (EVENTS, {}, {"accept": "application/jsonl"}):
        failed = await http.get("/count?fail_at=0", headers=headers)
        assert (failed.status_code, failed.headers["retry-after"]) == (418, "7")


async def test_a_failure_after_it_is_recorded(http):
    events = await events_of(http, "/count?fail_at=2")
    assert [event.event for event in events] == [None, None, "error"]
    assert '"status":418' in events[-1].data
    url = f"/streams/{events[0].id.split('.')[0]}"
    assert await events_of(http, url) == events
    document = await http.get(url)
    assert (document.status_code, document.json()["detail"]) == (418, "tea")
    with pytest.raises(httpx.RemoteProtocolError):
        await http.get(url, headers={"accept": "application/jsonl"})


async def test_events_of_any_kind_are_recorded_under_our_ids(http):
    batch = await http.get("/mixed")
    assert batch.json() == {"data": ["plain\ntext", {"a": 1}, {"n": 1}]}
    events = await events_of(http, batch.headers["location"])
    assert names_and_data(events) == [
        ("note", "plain\ntext"),
        (None, '{"a":1}'),
        (None, '{"n":1}'),
        ("done", '{"items":3}'),
    ]
    assert "mine" not in [event.id for event in events]


async def test_some_producers_do_not_go_on_for_nobody(http, stage):
    async with http.stream("GET", "/unread", headers=EVENTS) as response:
        url = response.headers["location"]
        events = read_events(response)
        await anext(events)
        await events.aclose()
    await asyncio.wait_for(stage.closed.wait(), 60)
    assert (await events_of(http, url))[-1].event == "cancelled"


@pytest.mark.parametrize(
    "cursor", ["x", "1.2", "{id}.1", "{id}.1.x", "{id}.0.1", "{id}.1.-1", "{id}.1." + "9" * 30, "é"]
)
async def test_a_malformed_cursor_is_400_and_never_a_replay(http, cursor):
    url = (await http.get("/count")).headers["location"]
    cursor = cursor.replace("{id}", url.removeprefix("/streams/"))
    answer = await http.get(url, params={"last_event_id": cursor}, headers=EVENTS)
    assert answer.status_code == 400, answer.text
    foreign = await http.get(url, headers={**EVENTS, "last-event-id": "0" * 32 + ".1.1"})
    assert foreign.status_code == 400


@on_every_store
@pytest.mark.parametrize("place", ["1.99", "2.3", "7.1"])
async def test_a_place_that_never_was_resets(http, place):
    url = (await http.get("/count")).headers["location"]
    cursor = f"{url.removeprefix('/streams/')}.{place}"
    reset, *events = await events_of(http, url, **{"last-event-id": cursor})
    assert reset.event == "reset"
    assert '"reason":"rewritten"' in reset.data
    assert reset.id is None
    assert len(events) == 6
    gone = await http.get(f"{url}?on_gap=fail", headers={**EVENTS, "last-event-id": cursor})
    assert gone.status_code == 410


@pytest.mark.parametrize("path", ["x", "0" * 32, "A" * 32, "..%2f..", "%00", "é" * 32])
async def test_an_id_that_is_none(http, path):
    assert (await http.get(f"/streams/{path}")).status_code == 404
    assert (await http.post(f"/streams/{path}/cancel")).status_code == 404


@on_every_store
async def test_what_was_trimmed_is_names_and_data(stores):
    async with running(Stage(store=stores.open(stream_entries=4)).app) as http:
        accepted = await http.get("/count?upto=600", headers={"prefer": "respond-async"})
        url = accepted.headers["location"]
        await http.get(f"{url}?wait=5")
        reset, *events = await events_of(http, url)
        assert reset.event == "reset"
        assert '"reason":"trimmed"' in reset.data
        assert names_and_data(events)[-2:] == [(None, '{"n":599}'), ("done", '{"items":600}')]
        assert (await http.get(url)).status_code == 410
        from_start = await http.get(f"{url}?on_gap=fail", headers=EVENTS)
        assert from_start.status_code == 410


@on_every_store
async def test_an_expired_stream_is_410_and_then_404(stores):
    async with running(Stage(store=stores.open(retention=2)).app) as http:
        url = (await http.get("/count")).headers["location"]
        statuses = []
        async with asyncio.timeout(60):
            while 404 not in statuses:
                statuses.append((await http.get(url)).status_code)
                await asyncio.sleep(0.01)
        assert 410 in statuses
        assert statuses == sorted(statuses, key=[200, 410, 404].index)


@on_every_store
async def test_at_the_apps_end_streams_end_as_interrupted_and_nothing_is_left(stores):
    stage = Stage(store=stores.open("kept"))
    stage.gate.clear()
    transport = StreamingTransport(stage.app)
    before = asyncio.all_tasks()
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        async with stage.app.router.lifespan_context(stage.app):
            async with http.stream("GET", "/count?gate_at=1", headers=EVENTS) as response:
                await anext(read_events(response))
                stream = response.headers["location"].rpartition("/")[2]
    assert stage.closed.is_set()
    assert asyncio.all_tasks() == before
    if stores.kind != "memory":
        kept = stores.open("kept")
        assert (await kept.info(stream)).state == "interrupted"
        await kept.aclose()


def test_without_install_a_recorded_endpoint_says_what_is_missing():
    with pytest.raises(RuntimeError, match=r"needs install\(app\)"):
        registry_of(FastAPI())


def test_what_can_be_resumed_takes_data_only():
    from fastapi import Depends, Request

    def session() -> object:
        return object()

    class NoData:
        pass

    for annotation in (Annotated[NoData, Depends(session)], Request):

        async def f(x: annotation, resume_from: int = 0) -> AsyncIterator[int]:
            yield 1

        with pytest.raises(TypeError, match="cannot be resumed: its parameter 'x'"):
            dual_mode(record=True)(f)
