"""Views of Flask and Django that stream, on their own servers, as docs/elsewhere.md has them."""

import contextlib
import logging
import threading
import types
from typing import Annotated, Literal

import httpx
import pytest
from pydantic import BaseModel, Field

from dual_mode_streaming import EventDecoder
from dual_mode_streaming.bridges import shared_loop
from dual_mode_streaming.errors import BrokenTransfer
from dual_mode_streaming.web.wsgi import HEADERS, event_stream

from .conftest import snippet


@contextlib.contextmanager
def running(server):
    """A server, in a thread, for the length of a block; gives its address."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def by_flask(app):
    from werkzeug.serving import make_server

    return running(make_server("127.0.0.1", 0, app, threaded=True))


def by_django(**views):
    import django
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.urls import clear_url_caches, path

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["127.0.0.1"], LOGGING_CONFIG=None)
        django.setup()
    urls = types.ModuleType("urls")
    urls.urlpatterns = [path(name, view) for name, view in views.items()]
    settings.ROOT_URLCONF = urls
    clear_url_caches()

    class Handler(WSGIRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadedWSGIServer(("127.0.0.1", 0), Handler)
    server.set_app(WSGIHandler())
    return running(server)


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)


@pytest.fixture(params=["flask", "django"])
def view(request, upstream):
    """The address of a view that streams what `upstream` gives."""
    with contextlib.ExitStack() as stack:
        names = {"__name__": "snippet"}
        if request.param == "flask":
            exec(snippet("flask_app.py", upstream.url), names)
            url = stack.enter_context(by_flask(names["app"]))
        else:
            exec(snippet("views.py"), names)
            names["words"] = upstream.items
            url = stack.enter_context(by_django(answer=names["view"], batch=names["batch"]))
        yield f"{url}/answer"


class Reader:
    """Reads a stream frame by frame."""

    def __init__(self, response):
        self.decoder = EventDecoder()
        self.chunks = response.iter_raw()
        self.ready = []

    def event(self):
        while not self.ready:
            self.ready += self.decoder.feed(next(self.chunks))
        return self.ready.pop(0)


def test_frames_come_one_by_one_and_end_in_done(view, upstream):
    with httpx.stream("GET", view, timeout=60) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["x-accel-buffering"] == "no"
        reader = Reader(response)
        for index in range(3):
            upstream.allow()  # one, and the head has come without any
            event = reader.event()
            assert event.data == f'{{"index":{index},"message":"item {index}"}}'
            assert event.id.endswith(f".{index + 1}")
        assert reader.event().event == "done"
    assert upstream.closes()


def test_a_client_that_leaves_closes_the_generator(view, upstream):
    upstream.total = 10**9  # so that it is not closed because it is over
    with httpx.stream("GET", view, timeout=60) as response:
        upstream.allow()
        assert Reader(response).event().id
        assert not upstream.closed.is_set()
    assert upstream.closes_while_it_gives()


def test_a_batch_beside_it(upstream):
    names = {"__name__": "snippet"}
    exec(snippet("views.py"), names)
    with by_django(batch=names["batch"], answer=names["view"]) as url:
        assert httpx.get(f"{url}/batch").json() == {"data": ["to", "be", "or", "not"]}
        text = httpx.get(f"{url}/answer").text
    assert [event.data for event in EventDecoder().feed(text.encode())][:2] == ['"to"', '"be"']


def test_a_heartbeat_finds_out_who_has_left(upstream):
    """Nothing comes of the source any more: only the heartbeats are written."""
    from flask import Flask, Response

    app = Flask("silent")

    @app.get("/")
    def silent():
        return Response(event_stream(upstream.items(), heartbeat=0.02), headers=HEADERS)

    with by_flask(app) as url:
        with httpx.stream("GET", url, timeout=60) as response:
            chunks, seen = response.iter_raw(), b""
            while seen.count(b": ping\n") < 2:  # one is to begin with
                seen += next(chunks)
        assert upstream.closes()


async def failing():
    yield {"n": 1}
    raise ValueError("a secret")


def test_an_error_is_told_as_dual_mode_tells_it(caplog):
    with event_stream(failing()) as frames:
        one, error = EventDecoder().feed(b"".join(frames))
    assert (one.data, error.event) == ('{"n":1}', "error")
    assert '"status":500' in error.data
    assert "secret" not in error.data
    assert "a stream failed after 1 items" in caplog.text


def test_what_has_no_json_is_such_an_error(upstream, caplog):
    async def unspeakable():
        try:
            yield object()
        finally:
            upstream.closed.set()

    with event_stream(unspeakable()) as frames:
        assert b"event: error" in b"".join(frames)
    assert upstream.closed.is_set()


def test_a_transfer_is_broken_where_that_is_meant():
    async def broken():
        yield 1
        raise BrokenTransfer("on purpose")

    with event_stream(broken()) as frames:
        assert next(frames) == b": ping\n"
        assert b"data: 1" in next(frames)
        with pytest.raises(BrokenTransfer):
            next(frames)


def test_a_stream_that_nobody_read_is_closed_too():
    class Source:
        closed = False

        def __aiter__(self):
            return self

        async def __anext__(self):
            raise AssertionError

        async def aclose(self):
            self.closed = True

    source = Source()
    event_stream(source).close()
    assert source.closed


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_heartbeat_of_no_time_is_refused(seconds):
    with pytest.raises(ValueError):
        event_stream(failing(), heartbeat=seconds)


class Weather(BaseModel):
    kind: Literal["weather"] = "weather"
    degrees: float = Field(serialization_alias="°C")


class Alarm(BaseModel):
    kind: Literal["alarm"] = "alarm"


def test_a_declared_type_is_framed_as_an_endpoints_would_be():
    async def told():
        yield Weather(degrees=3)
        yield Alarm()

    kinds = Annotated[Weather | Alarm, Field(discriminator="kind")]
    with event_stream(told(), item_type=kinds, loop=shared_loop()) as frames:
        weather, alarm, done = EventDecoder().feed(b"".join(frames))
    assert (weather.event, weather.data) == ("weather", '{"kind":"weather","°C":3.0}')
    assert (alarm.event, done.event) == ("alarm", "done")
