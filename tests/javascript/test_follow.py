"""`follow` of dual-mode.js, in Node, with a server that answers as each test wrote it."""

import asyncio
import json
import socket

import pytest

from tests.helpers.scripted import DONE, Answer, frame, items, page

pytestmark = pytest.mark.asyncio(loop_scope="package")

RECORDED = {"location": "/streams/e"}


async def test_items_are_given_and_done_ends_the_loop(server, node):
    server.then(Answer([*items(1, 2), frame("x", "named", "e.1.3"), DONE, frame("more")], "hang"))
    seen = await node.follow(server.url)
    assert seen.items == [
        ["message", "1", "e.1.1"],
        ["message", "2", "e.1.2"],
        ["named", "x", "e.1.3"],
    ]
    assert (seen.end, seen.error, seen.lastEventId) == ("done", None, "e.1.end")
    await asyncio.wait_for(server.gone.wait(), 60)  # the connection is closed at once


@pytest.mark.parametrize("then", ["cut", "end"])
async def test_a_cut_is_continued_after_the_last_event(server, node, then):
    server.then(Answer(items(1, 2), then), Answer([], then), Answer([*items(2, 3), DONE]))
    seen = await node.follow(server.url + "/x?y=1", headers={"X-Mine": "a"})
    assert (seen.data, seen.end, seen.resets) == (["1", "2", "3"], "done", [])
    assert server.cursors == [None, "e.1.2", "e.1.2"]
    assert {(asked.target, asked.headers["x-mine"]) for asked in server.asked} == {("/x?y=1", "a")}
    assert {asked.headers["accept"] for asked in server.asked} == {"text/event-stream"}


@pytest.mark.parametrize("cut", range(1, 40))
async def test_a_frame_that_was_cut_is_not_given(server, node, cut):
    whole = frame("one\ntwo ü", id="e.1.1")
    server.then(Answer([whole[:cut]], "cut"), Answer([whole, DONE]))
    assert (await node.follow(server.url)).data == ["one\ntwo ü"]


async def test_a_post_is_made_once_and_continued_at_its_location(server, node):
    cut = Answer(items(1), "cut", headers=RECORDED)
    server.then(cut, page(503, retry_after="0"), Answer([*items(2), DONE]))
    headers = {"Authorization": "Bearer k", "Idempotency-Key": "i", "Prefer": "x"}
    seen = await node.follow(server.url + "/answers?x=1", body={"n": 2}, headers=headers)
    assert (seen.data, seen.location) == (["1", "2"], server.url + "/streams/e")
    post, *gets = server.asked
    assert (post.method, post.target, json.loads(post.body)) == ("POST", "/answers?x=1", {"n": 2})
    assert post.headers["content-type"] == "application/json"
    assert [(get.method, get.target, get.body) for get in gets] == [("GET", "/streams/e", b"")] * 2
    assert server.cursors == [None, "e.1.1", "e.1.1"]
    for get in gets:
        assert get.headers["authorization"] == "Bearer k"
        assert not get.headers.keys() & {"content-type", "idempotency-key", "prefer"}


@pytest.mark.parametrize("events", [[], items(1)])
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "i"}])
async def test_a_post_without_location_is_not_sent_again(server, node, events, headers):
    server.then(Answer(events, "cut"))
    seen = await node.follow(server.url, method="POST", headers=headers)
    assert "POST broke off" in seen.error["message"]
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/streams/e", "//evil.example/streams/e"]
)
async def test_a_location_on_another_origin_is_not_followed(server, node, elsewhere):
    server.then(Answer(items(1), "cut", headers={"location": elsewhere}), Answer([DONE]))
    assert (await node.follow(server.url + "/mine")).end == "done"
    assert [asked.target for asked in server.asked] == ["/mine", "/mine"]


@pytest.mark.parametrize(
    ("method", "status", "headers", "times"),
    [
        *(("GET", status, {}, 2) for status in (429, 502, 503, 504)),
        ("POST", 503, {"retry_after": "0"}, 2),
        ("POST", 429, {"retry_after": "Thu, 01 Jan 2026 00:00:00 GMT"}, 2),
        *(("POST", status, {}, 1) for status in (429, 502, 503, 504)),
        *(("GET", status, {}, 1) for status in (400, 403, 404, 410, 500)),
        ("GET", 401, {}, 1),
        ("GET", 503, {"retry_after": "31"}, 1),
    ],
)
async def test_what_was_refused_is_asked_again_if_that_may_help(
    server, node, method, status, headers, times
):
    server.then(page(status, {"title": "No", "detail": "not now"}, **headers), Answer([DONE]))
    seen = await node.follow(server.url, method=method)
    assert len(server.asked) == times
    if times == 1:
        assert (seen.error["name"], seen.error["status"]) == ("StreamError", status)
        assert seen.error["detail"] == "not now"
        assert "not now" in seen.error["message"]
    else:
        assert seen.end == "done"


async def test_the_attempts_are_counted_until_something_new_comes(server, node):
    server.then(Answer([]), Answer([]), Answer(items(1)), Answer([]), Answer([]), Answer(items(1)))
    seen = await node.follow(server.url, attempts=3)
    assert seen.error["message"] == "the stream broke off"
    assert len(server.asked) == 5
    assert [failed for _, failed, _ in seen.waits] == [1, 2, 1, 2]


async def test_waits_grow_and_the_server_says_how_long(server, node):
    server.then(Answer([b"retry: 20\n\n"]), page(503, retry_after="1"), Answer([]), Answer([DONE]))
    seen = await node.follow(server.url, hurry=True)
    assert seen.end == "done"
    bounds = [(20, 25), (1000, 1250), (80, 100)]
    for (least, most), (delay, _, _) in zip(bounds, seen.waits, strict=True):
        assert least <= delay <= most


async def test_a_server_that_asks_for_too_long_a_wait_is_given_up(server, node):
    server.then(Answer([b"retry: 31000\n\n"]))
    assert (await node.follow(server.url)).error["message"] == "the stream broke off"


async def test_a_server_that_is_not_there_is_asked_again(node):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    seen = await node.follow(url, attempts=3)
    assert (seen.error["name"], len(seen.waits)) == ("TypeError", 2)
    assert len((await node.follow(url, method="POST")).waits) == 0
    keyed = await node.follow(url, method="POST", headers={"Idempotency-Key": "i"}, attempts=2)
    assert len(keyed.waits) == 1


@pytest.mark.parametrize(("named", "event"), [({}, "error"), ({"errorEvent": "broken"}, "broken")])
async def test_a_failure_is_thrown_with_what_the_server_said(server, node, named, event):
    problem = {"title": "Gone", "status": 410, "detail": "it was deleted", "items": 1}
    server.then(Answer([*items(1), frame(problem, event)], "hang"))
    seen = await node.follow(server.url, **named)
    assert (seen.data, seen.end) == (["1"], event)
    assert seen.error["message"] == "410 Gone: it was deleted"
    assert (seen.error["problem"], seen.error["event"]) == (problem, event)
    assert len(server.asked) == 1


async def test_an_interruption_is_thrown_and_a_cancellation_is_an_end(server, node):
    server.then(Answer([*items(1), frame({"reason": "its worker died"}, "interrupted", "e.1.2")]))
    seen = await node.follow(server.url)
    assert (seen.end, seen.error["event"]) == ("interrupted", "interrupted")
    assert "its worker died" in seen.error["message"]
    server.then(Answer([*items(1), frame({"items": 1}, "cancelled", "e.1.2")]))
    seen = await node.follow(server.url)
    assert (seen.end, seen.error, seen.lastEventId) == ("cancelled", None, "e.1.2")


@pytest.mark.parametrize("text", ["", "no JSON", "null", "[]", '"text"', '{"detail": {"a": 1}}'])
async def test_a_failure_of_any_shape_is_a_failure(server, node, text):
    server.then(Answer([frame(text, "error")]), page(400, text.encode()))
    assert (await node.follow(server.url)).error["name"] == "StreamError"
    refused = (await node.follow(server.url)).error
    assert (refused["name"], refused["status"]) == ("StreamError", 400)


async def test_a_validation_error_says_what_is_wrong(server, node):
    wrong = [{"loc": ["body", "seed"], "msg": "should be a number"}, {"loc": ["body"], "msg": "no"}]
    server.then(page(422, {"detail": wrong}))
    assert "body.seed" not in (await node.follow(server.url)).error["message"]
    assert "seed should be a number; no" in (await node.follow(server.url)).error["message"]


async def test_204_is_an_end(server, node):
    server.then(Answer(items(1), "cut"), Answer(status=204, media=None))
    seen = await node.follow(server.url)
    assert (seen.data, seen.end, seen.error) == (["1"], "no-content", None)


async def test_a_kept_position_is_continued(server, node):
    server.then(Answer([*items(2, 3), DONE]))
    seen = await node.follow(server.url, lastEventId="e.1.2")
    assert (server.cursors, seen.data) == (["e.1.2"], ["3"])


@pytest.mark.parametrize("reason", ["trimmed", "rewritten", "not_recorded"])
async def test_a_reset_is_told_and_never_a_doubled_item(server, node, reason):
    reset = frame({"reason": reason, "requested": "e.1.2"}, "reset")
    answers = [Answer(items(1, 2), "cut"), Answer([reset, *items(1), DONE])]
    seen = await node.follow(server.then(*answers).url)
    assert (seen.data, seen.end) == (["1", "2", "1"], "done")
    assert seen.resets == [{"reason": reason, "requested": "e.1.2"}]
    seen = await node.follow(server.then(*answers).url, resets=False)
    assert (seen.data, seen.error["event"]) == (["1", "2"], "reset")


async def test_a_stream_without_ids_begins_again_or_fails(server, node):
    answers = [Answer([frame(1)], "cut"), Answer([frame(1), frame(2), frame({}, "done")])]
    seen = await node.follow(server.then(*answers).url)
    assert (seen.data, seen.resets) == (["1", "1", "2"], [{"reason": "no_ids"}])
    seen = await node.follow(server.then(*answers).url, resets=False)
    assert (seen.data, seen.error["event"]) == (["1"], "reset")


async def test_an_expired_token_is_renewed_once(server, node):
    denied = page(401, {"detail": "the access token has expired"})
    server.then(Answer(items(1), headers=RECORDED), denied, Answer(items(2)), Answer([DONE]))
    seen = await node.follow(server.url, tokens=["a", "a", "b", "b"])
    assert (seen.data, seen.end) == (["1", "2"], "done")
    assert [asked.headers["authorization"][-1] for asked in server.asked] == ["a", "a", "b", "b"]
    assert seen.asked == [False, False, True, False]
    server.then(denied)
    seen = await node.follow(server.url, tokens=["a", "b", "c"])
    assert (seen.error["status"], seen.asked) == (401, [False, True])


async def test_the_url_may_have_a_new_token_each_time(server, node):
    server.then(Answer(items(1), headers=RECORDED), page(401), Answer([*items(2), DONE]))
    urls = [f"{server.url}/streams/e?access_token={n}" for n in range(3)]
    seen = await node.follow("", urls=urls)
    assert (seen.data, seen.end) == (["1", "2"], "done")
    assert seen.asked == [None, *[server.url + "/streams/e"] * 2]
    assert [asked.target[-1] for asked in server.asked] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("thrown", "connections"), [("TypeError", 1), ("503", 1), ("403", 0), ("Error", 0)]
)
async def test_a_token_that_cannot_be_had_now_is_asked_for_again(server, node, thrown, connections):
    server.then(Answer([DONE]))
    seen = await node.follow("", urls=[f"throw {thrown}", server.url])
    assert (len(server.asked), seen.end) == (connections, "done" if connections else None)
    assert connections or seen.error["message"] == "no token"


async def test_a_url_that_is_none_is_an_error_at_once(node):
    seen = await node.follow("http://[")
    assert (seen.error["name"], seen.waits) == ("TypeError", [])


async def test_a_deleted_stream_is_asked_for_once(server, node):
    server.then(Answer(items(1), "cut"), page(404, {"title": "Not Found"}))
    seen = await node.follow("", urls=[server.url] * 50)
    assert (seen.error["status"], len(seen.asked)) == (404, 2)


@pytest.mark.parametrize("media", ["text/html", "application/json", None, "text/event-streams"])
async def test_what_is_no_stream_of_events_is_an_error(server, node, media):
    server.then(Answer([b"<html>"], media=media))
    assert "is not a stream of events" in (await node.follow(server.url)).error["message"]


async def test_leaving_the_loop_closes_the_connection(server, node):
    for leave in ({"breakAt": 1}, {"abortAt": 1}):
        server.gone.clear()
        server.then(Answer(items(1), "hang"))
        seen = await node.follow(server.url, **leave)
        assert (seen.data, seen.end) == (["1"], None)
        assert (seen.error or {}).get("message") == ("left" if "abortAt" in leave else None)
        await asyncio.wait_for(server.gone.wait(), 60)


async def test_a_wait_is_left_too(server, node):
    server.then(Answer(items(1)))
    seen = await node.follow(server.url, abortAt="wait", delay=20_000)
    assert (seen.error["message"], len(server.asked)) == ("left", 1)


async def test_a_silent_server_is_a_cut(server, node):
    server.then(Answer([], "silent"), Answer(items(1), "hang"), Answer([*items(2), DONE]))
    seen = await node.follow(server.url, readTimeout=50)
    assert (seen.data, seen.end) == (["1", "2"], "done")


async def test_stop_asks_the_server_and_the_stream_says_that_it_ended(server, node):
    server.then(Answer(items(1), "cancelled", headers=RECORDED))
    seen = await node.follow(server.url, stopAt=1, method="POST", headers={"X-API-Key": "k"})
    assert (seen.end, seen.stopped) == ("cancelled", {"state": "cancelled"})
    (cancel,) = server.cancels
    assert (cancel.method, cancel.target) == ("POST", "/streams/e/cancel")
    assert cancel.headers["x-api-key"] == "k"
    assert "content-type" not in cancel.headers


@pytest.mark.parametrize("size", [1, 3, 10**6])
async def test_the_bytes_are_read_as_an_event_source_reads_them(server, node, size):
    wire = (
        "\ufeffid: 1\ndata: a\n\n"
        "data:b\rdata\rdata:  c \r\r"
        "event: x\r\nid\r\ndata: d\r\n\r\n"
        ": comment\n:\nfoo: bar\ndata\n\n"
        "id: 2\n\nevent: y\n\ndata: ü🎈\u2028:\n\n"
        "id: 3\0\nretry: 1x\ndata: e\n\nevent: done\ndata\n\n"
    ).encode()
    server.then(Answer([wire[n : n + size] for n in range(0, len(wire), size)]))
    assert (await node.follow(server.url)).items == [
        ["message", "a", "1"],
        ["message", "b\n\n c ", "1"],
        ["x", "d", ""],
        ["message", "", ""],
        ["message", "ü🎈\u2028:", "2"],
        ["message", "e", "2"],
    ]


async def test_a_long_item_is_read_in_linear_time(server, node):
    text = "x" * 4_000_000
    server.then(Answer([frame(text, id="e.1.1"), DONE]))
    assert (await node.follow(server.url)).data == [text]
