"""The pages of the examples in a real Chromium: each item is shown once, also after a cut."""

import runpy

import pytest
from playwright.sync_api import expect

from dual_mode_streaming.bridges import LoopThread
from dual_mode_streaming.testing import serving
from tests.conftest import ROOT
from tests.environments import environment

EXAMPLES = ROOT / "examples"
HTMX = ROOT / "tests" / "elsewhere" / "htmx"


class Cutting:
    """An app whose first answer at `path` ends after `whole` events, and those that asked.

    It ends cleanly: of a broken transfer a browser may discard what the page has not read.
    """

    def __init__(self, app, path, whole):
        self.app, self.path, self.whole = app, path, whole
        self.asked = []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        cursor = headers.get(b"last-event-id", b"").decode()
        if scope["path"] == self.path or scope["path"].startswith("/streams/"):
            self.asked.append((scope["method"], cursor.rpartition(".")[2]))
        if scope["path"] != self.path or cursor:
            return await self.app(scope, receive, send)
        sent, ended = b"", False

        async def cutting(message):
            nonlocal sent, ended
            if message["type"] == "http.response.body":
                sent += message["body"]
                events = sent.split(b"\n\n")
                if not ended and len(events) > self.whole:
                    before = len(sent) - len(message["body"])
                    kept = b"\n\n".join(events[: self.whole]) + b"\n\n"
                    message = {**message, "body": kept[before:], "more_body": False}
            if not ended:
                ended = message.get("more_body") is False
                await send(message)

        await self.app(scope, receive, cutting)


@pytest.fixture
def served():
    """A function that serves an example whose answer at a path is cut; it returns both."""
    with LoopThread() as loop:
        running = []

        def serve(name, path):
            app = Cutting(runpy.run_path(str(EXAMPLES / name))["app"], path, whole=2)
            context = serving(app, log_level="critical")
            running.append(context)
            return app, loop.run(context.__aenter__())

        yield serve
        for context in running:
            loop.run(context.__aexit__(None, None, None))


def test_the_page_that_follows(page, served):
    app, url = served("15_page_that_follows.py", "/tea")
    page.goto(url)
    expect(page.locator("#steps")).to_contain_text("It is poured.")
    steps = page.locator("#steps").inner_text().split("\n")
    assert steps[:4] == ["Water is boiled.", "Leaves are added.", "It steeps.", "It is poured."]
    assert app.asked == [("POST", ""), ("GET", "2")]


@pytest.mark.full
@pytest.mark.timeout(600)  # the environment is to be made first
def test_the_page_of_htmx(page, served, monkeypatch):
    home = environment("htmx", HTMX / "package.json", HTMX / "package-lock.json")
    monkeypatch.chdir(home)  # the example looks for node_modules there
    app, url = served("16_htmx_feed.py", "/news")
    page.goto(url)
    expect(page.locator("li")).to_have_count(4)
    page.wait_for_function("document.querySelector('ol')._htmx?.sse === undefined")
    shown = page.locator("li").all_text_contents()
    assert shown == [
        "A ship arrived.",
        "Fish & bread are cheap.",
        "Rain is near.",
        "The ship left.",
    ]
    assert app.asked == [("GET", ""), ("GET", "2")]
