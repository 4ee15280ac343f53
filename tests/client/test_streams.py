"""The events of a stream, and how it ends: with a real server and both clients."""

import asyncio
import contextlib
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from dual_mode_streaming.client import (
    FOREIGN,
    WHATWG,
    ConnectionFailed,
    Dialect,
    EventTooLarge,
    Reconnect,
    RequestRefused,
    StreamFailed,
    StreamReset,
    StreamTruncated,
    UnexpectedContent,
    UnreadableAnswer,
)
from tests.helpers.scripted import DONE, Answer, frame, items, page

pytestmark = pytest.mark.asyncio(loop_scope="package")

RECORDED = {"location": "/streams/e"}


class Item(BaseModel):
    n: int


async def test_typed_events_to_the_end(server, harness):
    server.then(Answer([frame({"n": 1}, id="r.1"), frame({"n": 2}, "named", "r.2"), DONE], "hang"))
    stream = await harness.read(server.url + "/x", model=Item)
    assert harness.data == [Item(n=1), Item(n=2)]
    assert [(event.event, event.id) for event in harness.events] == [
        (None, "r.1"),
        ("named", "r.2"),
    ]
    assert (stream.outcome, stream.end_data) == ("done", '{"items":3}')
    assert stream.last_event_id == "e.1.end"
    assert server.asked[0].headers["accept"] == "text/event-stream"
    await asyncio.wait_for(server.gone.wait(), 60)  # the end event is enough


async def test_without_a_model_data_is_text(server, harness):
    server.then(Answer([b"data: a\ndata: b\n\n", DONE]))
    await harness.read(server.url, model=None)
    assert harness.data == ["a\nb"]


@pytest.mark.parametrize("outcome", ["done", "cancelled", "interrupted"])
async def test_each_end_event_ends_it(server, harness, outcome):
    server.then(Answer([*items(1), frame("{}", outcome, "e.1.2"), *items(3)]))
    assert (await harness.read(server.url)).outcome == outcome
    assert harness.data == [1]


@pytest.mark.parametrize("then", ["cut", "end"])
async def test_a_cut_stream_goes_on_where_it_was(server, harness, then):
    server.then(
        Answer([*items(1, 2), b"id: e.1.3\ndata: 3"], then, headers=RECORDED),
        Answer([*items(3), DONE], headers=RECORDED),
    )
    stream = await harness.read(server.url + "/answers?q=1", headers={"authorization": "Bearer k"})
    assert harness.data == [1, 2, 3]
    assert stream.reconnects == 1
    assert server.cursors == [None, "e.1.2"]
    assert [asked.target for asked in server.asked] == ["/answers?q=1", "/streams/e"]
    assert server.asked[1].headers["authorization"] == "Bearer k"
    assert stream.location == server.url + "/streams/e"


async def test_without_a_location_the_same_url_is_asked_again(server, harness):
    server.then(Answer([frame(1, id="7")], "cut"), Answer([frame(2, id="8"), DONE]))
    await harness.read(server.url + "/own?q=1")
    assert harness.data == [1, 2]
    assert [asked.target for asked in server.asked] == ["/own?q=1"] * 2
    assert server.cursors == [None, "7"]


async def test_what_came_before_is_dropped(server, harness):
    server.then(
        Answer(items(1, 2, 2, 1, 3), "cut"),
        Answer([*items(2, 3), *items(4, generation=2)], "cut"),
        Answer([*items(5), *items(1, epoch="other"), *items(5, generation=2), DONE]),
    )
    stream = await harness.read(server.url)
    assert harness.data == [1, 2, 3, 4, 1, 5]
    assert stream.duplicates == 5
    assert server.cursors == [None, "e.1.3", "e.2.4"]


async def test_a_replay_that_is_cut_does_not_set_the_cursor_back(server, harness):
    server.then(Answer(items(1, 2, 3), "cut"), Answer(items(1, 2), "cut"), Answer([DONE]))
    await harness.read(server.url)
    assert server.cursors == [None, "e.1.3", "e.1.3"]


async def test_a_cursor_of_an_earlier_time(server, harness):
    server.then(Answer([*items(4, 5), DONE]))
    await harness.read(server.url, last_event_id="e.1.4")
    assert server.cursors == ["e.1.4"]
    assert harness.data == [5]


async def test_204_is_an_end(server, harness):
    server.then(Answer(items(1), "cut"), Answer(status=204, media=None))
    assert (await harness.read(server.url)).outcome == "no-content"
    assert harness.data == [1]


async def test_a_failure_carries_what_arrived(server, harness):
    problem = {"status": 503, "detail": "overloaded", "type": "about:blank"}
    server.then(Answer([*items(1, 2), frame(problem, "error", "e.1.3")], "hang"))
    with pytest.raises(StreamFailed, match="overloaded") as caught:
        await harness.read(server.url)
    error = caught.value
    assert (error.status, error.detail, error.problem) == (503, "overloaded", problem)
    assert [event.data for event in error.events] == harness.data == [1, 2]
    assert (error.count, error.last_event_id) == (2, "e.1.2")
    assert harness.stream.outcome == "error"
    await asyncio.wait_for(server.gone.wait(), 60)
    assert len(server.asked) == 1


async def test_a_failure_may_say_anything(server, harness):
    server.then(Answer([frame("[[[", "error")]))
    with pytest.raises(StreamFailed) as caught:
        await harness.read(server.url)
    assert (caught.value.status, caught.value.detail, caught.value.problem) == (None, "[[[", {})


@pytest.mark.parametrize("then", ["cut", "end"])
async def test_a_stream_without_ids_is_truncated(server, harness, then):
    server.then(Answer([frame(1), frame(2)], then))
    with pytest.raises(StreamTruncated, match="no ids") as caught:
        await harness.read(server.url)
    assert caught.value.count == 2
    assert (caught.value.__cause__ is None) == (then == "end")
    assert len(server.asked) == 1


async def test_a_stream_that_gave_nothing_may_be_asked_again(server, harness):
    server.then(Answer([b": ping\n"], "cut"), Answer([frame(1), DONE]))
    await harness.read(server.url)
    assert harness.data == [1]


async def test_attempts_are_bounded_and_counted_from_the_last_event(server, harness):
    server.then(*(Answer(items(n), "cut") for n in range(6)), Answer(items(5), "cut"))
    with pytest.raises(StreamTruncated, match="2 attempts") as caught:
        await harness.read(
            server.url, reconnect=Reconnect(attempts=2, delay=0, max_wait=0.01, jitter=0)
        )
    assert harness.data == [*range(6)]
    assert len(server.asked) == 8
    assert caught.value.last_event_id == "e.1.5"


async def test_no_reconnection_if_none_is_wanted(server, harness):
    server.then(Answer(items(1), "cut"))
    with pytest.raises(StreamTruncated):
        await harness.read(server.url, reconnect=Reconnect(attempts=0))
    assert len(server.asked) == 1


async def test_a_reset_is_told(server, harness):
    told = {"reason": "unrecorded", "requested": "r.2"}
    server.then(
        Answer([frame(1, id="r.1"), frame(2, id="r.2")], "cut"),
        Answer([frame(told, "reset"), frame(1, id="s.1")], "hang"),
    )
    with pytest.raises(StreamReset, match="unrecorded") as caught:
        await harness.read(server.url)
    assert caught.value.reset == told
    assert [event.data for event in caught.value.events] == [1, 2]
    await asyncio.wait_for(server.gone.wait(), 60)


async def test_a_reset_may_be_taken(server, harness):
    server.then(
        Answer(items(7, 8), "cut"),
        Answer([frame({"reason": "gone"}, "reset"), *items(3)], "cut"),
        Answer([*items(4), DONE]),
    )
    resets: list[Any] = []
    await harness.read(server.url, on_reset=resets.append)
    assert resets == [{"reason": "gone"}]
    assert harness.data == [7, 8, 3, 4]
    assert server.cursors == [None, "e.1.8", "e.1.3"]


async def test_a_server_that_is_not_ready_is_asked_again(server, harness):
    busy = page(503, {"detail": "starting"}, retry_after="0")
    server.then(busy, page(429, retry_after="0"), Answer(items(1), "cut"), busy, Answer([DONE]))
    await harness.read(server.url)
    assert harness.data == [1]
    assert server.cursors == [None, None, None, "e.1.1", "e.1.1"]


async def test_a_server_that_never_is_ready_is_given_up(server, harness):
    server.then(page(503, {"title": "Service Unavailable"}))
    with pytest.raises(RequestRefused, match="Service Unavailable") as caught:
        await harness.read(
            server.url, reconnect=Reconnect(attempts=2, delay=0, max_wait=0.01, jitter=0)
        )
    assert (caught.value.status, len(server.asked)) == (503, 3)


async def test_a_server_that_asks_for_too_much_patience_is_given_up(server, harness):
    server.then(page(429, retry_after="3600"))
    with pytest.raises(RequestRefused) as caught:
        await harness.read(server.url)
    assert (caught.value.retry_after, len(server.asked)) == (3600, 1)


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        (
            [{"loc": ["query", "n"], "msg": "no int"}, {"loc": ["body"], "msg": "no"}],
            "n no int; no",
        ),
        ([5, {"loc": 1, "msg": 2}], '{"detail": [5'),
        ([], '{"detail": []}'),
    ],
)
async def test_a_validation_error_says_what_is_wrong(server, harness, detail, said):
    server.then(page(422, {"detail": detail}))
    with pytest.raises(RequestRefused) as caught:
        await harness.read(server.url)
    assert caught.value.detail.startswith(said)
    assert caught.value.problem == {"detail": detail}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 410, 422, 500])
async def test_a_refusal_is_final(server, harness, status):
    server.then(Answer(items(1), "cut"), page(status, {"detail": "no", "status": status}))
    with pytest.raises(RequestRefused, match=f"{status}: no") as caught:
        await harness.read(server.url)
    error = caught.value
    assert (error.status, error.detail, error.problem["status"]) == (status, "no", status)
    assert [event.data for event in error.events] == [1]
    assert len(server.asked) == 2


async def test_a_page_that_is_no_problem_is_quoted(server, harness):
    server.then(page(404, b"<h1>Not here</h1>", "text/html"))
    with pytest.raises(RequestRefused, match="<h1>Not here") as caught:
        await harness.read(server.url)
    assert caught.value.problem == {}


async def test_an_answer_that_is_no_stream(server, harness):
    server.then(page(200, {"data": [1]}, "application/json"))
    with pytest.raises(UnexpectedContent, match="application/json") as caught:
        await harness.read(server.url)
    assert caught.value.excerpt == '{"data": [1]}'


async def test_an_endless_page_is_not_read_to_its_end(server, harness):
    server.then(Answer([b"x" * 70_000], "hang", status=404, media="text/plain"))
    with pytest.raises(RequestRefused):
        await harness.read(server.url)


async def test_a_silent_server_is_left_and_asked_again(server, harness):
    server.then(Answer(items(1), "hang"), Answer([*items(2), DONE]))
    await harness.read(server.url, read_timeout=1.5)
    assert harness.data == [1, 2]
    assert server.cursors == [None, "e.1.1"]
    await asyncio.wait_for(server.gone.wait(), 60)


NEVER = {
    "refused": ("http://127.0.0.1:{port}/", "no connection to http://127.0.0.1:"),
    "unknown host": ("http://nowhere.invalid/", "no connection to http://nowhere.invalid"),
    "no TLS": ("https://{plain}/", "use http://"),
}


@pytest.mark.parametrize("case", NEVER)
async def test_a_server_that_was_never_reached_is_an_error_at_once(
    server, harness, unused_tcp_port_factory, case
):
    url, message = NEVER[case]
    url = url.format(port=unused_tcp_port_factory(), plain=server.url.partition("//")[2])
    waits: list[Any] = []

    def policy(**options: Any) -> Reconnect:
        return Reconnect(
            attempts=2, delay=0, max_wait=0, on_wait=lambda *wait: waits.append(wait), **options
        )

    for ask in ("read", "ask"):
        asked = (url,) if ask == "read" else ("get", url)
        with pytest.raises(ConnectionFailed, match=message) as caught:
            await getattr(harness, ask)(*asked, reconnect=policy())
        assert caught.value.__cause__ is not None
    assert not waits
    with pytest.raises(ConnectionFailed):
        await harness.read(url, reconnect=policy(wait_for_server=True))
    assert [bool(seconds >= 0 and reason) for seconds, reason in waits] == [True, True]


async def test_a_server_that_was_reached_may_be_away_for_a_while(server, harness, monkeypatch):
    connects = [None, httpx.ConnectError("refused"), None]
    for kind in harness.kinds[1:]:
        send = kind.send

        def raising(self, *args, send=send, **options):
            if (error := connects.pop(0)) is not None:
                raise error
            return send(self, *args, **options)

        monkeypatch.setattr(kind, "send", raising)
    server.then(Answer(items(1), "cut"), Answer([*items(2), DONE]))
    await harness.read(server.url)
    assert (harness.data, connects) == ([1, 2], [])


async def test_the_id_in_force_lasts_over_reconnections(server, harness):
    server.then(
        Answer([frame(1, id="a"), frame(2)], "cut"),
        Answer([frame(3), frame(4, id="b.1.2"), frame(5)], "cut"),
        Answer([b": ping\n"], "cut"),
        Answer([frame(6), b"id:\ndata: 7\n\n", frame(8), DONE]),
    )
    await harness.read(server.url)
    assert [(event.data, event.id) for event in harness.events] == [
        (1, "a"), (2, "a"), (3, "a"), (4, "b.1.2"), (5, "b.1.2"),
        (6, "b.1.2"), (7, ""), (8, ""),
    ]  # fmt: skip
    assert server.cursors == [None, "a", "b.1.2", "b.1.2"]


@pytest.mark.parametrize("last", ["z", None])
async def test_an_event_without_an_id_has_the_one_that_the_stream_was_opened_with(
    server, harness, last
):
    server.then(Answer([frame(1), DONE]))
    await harness.read(server.url, last_event_id=last)
    assert harness.events[0].id == last


async def test_data_of_another_type(server, harness):
    server.then(Answer([frame({"n": 1}), frame({"n": "x"}), DONE], "hang"))
    with pytest.raises(UnreadableAnswer) as caught:
        await harness.read(server.url, model=Item)
    assert (caught.value.text, caught.value.count) == ('{"n":"x"}', 1)
    await asyncio.wait_for(server.gone.wait(), 60)


async def test_an_event_too_large(server, harness):
    server.then(Answer([*items(1), b"data: " + b"x" * 2000], "hang"))
    with pytest.raises(EventTooLarge):
        await harness.read(server.url, max_event_bytes=1000)
    assert harness.data == [1]
    assert harness.stream.outcome == "failed"
    await asyncio.wait_for(server.gone.wait(), 60)


async def test_what_is_kept_is_bounded(server, harness):
    server.then(Answer([frame("x" * 1000), frame("y" * 1000), frame("z" * 1000)]))
    with pytest.raises(StreamTruncated) as caught:
        await harness.read(server.url, model=None, keep=2300)
    assert [event.data[0] for event in caught.value.events] == ["y", "z"]
    assert caught.value.count == 3


async def test_a_stream_is_iterated_once(server, harness):
    server.then(Answer([DONE]))
    await harness.read(server.url)
    with pytest.raises(RuntimeError, match="once"):
        harness.stream.__iter__() if harness.name == "sync" else harness.stream.__aiter__()


class TestForeignServers:
    @pytest.mark.parametrize("status", [201, 202, 203, 205, 206, 299])
    async def test_an_event_source_takes_status_200_only(self, server, harness, status):
        server.then(Answer([frame(1)], status=status))
        with pytest.raises(RequestRefused, match=f"{status}: an EventSource takes status 200"):
            await harness.read(server.url, dialect=WHATWG)
        assert len(server.asked) == 1

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_an_event_source_follows_redirects(self, server, harness, status):
        moved = page(status, location="/moved")
        server.then(moved, Answer([frame(1, id="a")]), Answer(status=204, media=None))
        await harness.read(server.url, dialect=WHATWG)
        assert harness.data == [1]
        assert [asked.target for asked in server.asked][:2] == ["/", "/moved"]

    @pytest.mark.parametrize(
        ("media", "taken"),
        [("text/event-stream", True), ("TEXT/Event-Stream;charset=x", True),
         ("text/event-stream ; a=b", True), ("text/event-streams", False), ("text/plain", False),
         ("application/event-stream", False), (None, False)],
    )  # fmt: skip
    async def test_an_event_source_takes_one_media_type(self, server, harness, media, taken):
        server.then(Answer([frame(1)], media=media), Answer(status=204, media=None))
        if not taken:
            with pytest.raises(UnexpectedContent):
                await harness.read(server.url, dialect=WHATWG)
            return
        await harness.read(server.url, dialect=WHATWG)
        assert harness.data == [1]

    async def test_a_clean_end_is_the_end(self, server, harness):
        server.then(Answer([frame(1, "done"), frame(2, "error"), frame(3, "reset"), b"data: 4"]))
        assert (await harness.read(server.url, dialect=FOREIGN)).outcome == "eof"
        assert harness.data == [1, 2, 3]
        assert len(server.asked) == 1

    async def test_a_cut_is_none(self, server, harness):
        server.then(Answer([frame(1, id="5")], "cut"), Answer([frame(2)]))
        await harness.read(server.url, dialect=FOREIGN)
        assert harness.data == [1, 2]
        assert server.cursors == [None, "5"]

    async def test_a_cut_without_ids_is_told(self, server, harness):
        server.then(Answer([frame(1)], "cut"))
        with pytest.raises(StreamTruncated):
            await harness.read(server.url, dialect=FOREIGN)

    async def test_an_event_source_comes_again_until_204(self, server, harness):
        server.then(
            Answer([frame(1, id="a.1.2"), frame(2, id="a.1.1")]),
            Answer([frame(3), b"id:\n\n"]),
            Answer([b"id: no\0t\ndata: 4\n\n", b"id: \xc3\xa9\n\n"]),
            Answer(status=204, media=None),
        )
        stream = await harness.read(server.url, dialect=WHATWG)
        assert harness.data == [1, 2, 3, 4]
        assert stream.outcome == "no-content"
        assert server.cursors == [None, "a.1.1", None, "é"]
        assert server.asked[0].headers["cache-control"] == "no-cache"

    async def test_the_end_may_be_data(self, server, harness):
        server.then(Answer([frame("1"), frame("[DONE]")], "hang"))
        stream = await harness.read(server.url, dialect=Dialect(end_data="[DONE]", eof="truncated"))
        assert stream.outcome == "done"
        assert harness.data == [1]

    async def test_its_location_means_nothing(self, server, harness):
        server.then(Answer([frame(1, id="1")], "cut", headers=RECORDED), Answer([frame(2)]))
        await harness.read(server.url + "/x", dialect=FOREIGN)
        assert [asked.target for asked in server.asked] == ["/x", "/x"]


async def test_an_id_with_spaces_around_it(server, harness):
    server.then(Answer([b"id:  7 \ndata: 1\n\n"], "cut"), Answer([frame(2), DONE]))
    await harness.read(server.url)
    assert server.cursors == [None, "7"]


async def test_an_id_that_cannot_be_sent(server, harness):
    server.then(Answer([b"id: a\x0bb\ndata: 1\n\n"], "cut"))
    with pytest.raises(StreamTruncated, match="cannot be resumed") as caught:
        await harness.read(server.url)
    assert caught.value.count == 1


async def test_what_cannot_be_sent_at_all_is_not_tried_again(harness):
    with pytest.raises(httpx.UnsupportedProtocol):
        await harness.read("gopher://host/")
    with pytest.raises(httpx.UnsupportedProtocol):
        await harness.ask("get", "gopher://host/")


async def test_a_redirect_elsewhere_gets_no_credentials_by_a_location(server, harness):
    """To another host of the same server: the Location there is of that host."""
    other = server.url.replace("127.0.0.1", "localhost")
    server.then(
        page(307, location=other + "/y"),
        Answer(items(1), "cut", headers=RECORDED),
        page(307, location=other + "/y"),
        Answer([DONE]),
    )
    stream = await harness.read(server.url + "/x", headers={"authorization": "Bearer k"})
    assert stream.location is None
    assert [asked.target for asked in server.asked] == ["/x", "/y", "/x", "/y"]
    assert ["authorization" in asked.headers for asked in server.asked] == [True, False] * 2


SECRETS = {
    "authorization": "Bearer k", "x-api-key": "k", "api-key": "k", "cookie": "s=k",
    "x-made-up-token": "k", "idempotency-key": "k", "proxy-authorization": "k",
    "last-event-id": "k",
}  # fmt: skip


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_another_origin_gets_no_header_of_the_caller(server, harness, status):
    """Whatever its name: also not when that origin leads back."""
    other = server.url.replace("127.0.0.1", "localhost")
    answers = [page(status, location=other + "/y"), page(status, location=server.url + "/z")]
    for ask in (
        lambda: harness.read(server.url + "/x", headers=SECRETS),
        lambda: harness.ask("get", server.url + "/x", headers=SECRETS),
    ):
        server.asked.clear()
        with contextlib.suppress(UnexpectedContent):
            await ask_with(server, answers, ask)
        assert [asked.target for asked in server.asked] == ["/x", "/y", "/z"]
        assert SECRETS.keys() <= server.asked[0].headers.keys()
        for asked in server.asked[1:]:
            assert not SECRETS.keys() & asked.headers.keys()
            assert asked.headers["host"] in (other[7:], server.url[7:])


async def ask_with(server, answers, ask):
    server.then(*answers, Answer([*items(1), DONE]))
    await ask()


@pytest.mark.parametrize("status", [307, 308])
async def test_another_origin_gets_no_body(server, harness, status):
    other = server.url.replace("127.0.0.1", "localhost")
    server.then(page(status, location=other + "/y?token=k"))
    body = {"json": {"secret": 1}, "headers": {"idempotency-key": "k"}}
    for ask in (
        lambda: harness.read(server.url, method="POST", **body),
        lambda: harness.ask("post", server.url, **body),
    ):
        server.asked.clear()
        with pytest.raises(
            RequestRefused, match=f"{status}: it redirects to {other}/y, "
        ) as caught:
            await ask()
        assert "token" not in str(caught.value)
        assert len(server.asked) == 1


@pytest.mark.parametrize("status", [307, 308])
async def test_the_same_origin_gets_everything_again(server, harness, status):
    server.then(page(status, location="/y"), page(200, b"1", "application/json"))
    assert await harness.ask("post", server.url, json=[1], headers=SECRETS) == 1
    first, second = server.asked
    assert (second.target, second.body) == ("/y", first.body)
    assert SECRETS.keys() - {"cookie"} <= second.headers.keys()  # httpx asks its cookie jar


async def test_redirects_without_end_are_an_error(server, harness):
    server.then(page(307, location="/"))
    with pytest.raises(httpx.TooManyRedirects):
        await harness.ask("get", server.url)


async def test_a_location_elsewhere_is_not_gone_to(server, harness):
    away = {"location": "http://elsewhere.invalid/streams/e"}
    server.then(Answer(items(1), "cut", headers=away), Answer([DONE]))
    stream = await harness.read(server.url + "/x")
    assert stream.location is None
    assert [asked.target for asked in server.asked] == ["/x", "/x"]
