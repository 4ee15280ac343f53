"""`useChat` of the AI SDK in a real Chromium: the page of example 13 on a worker of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from urllib.parse import quote

import httpx
import pytest
from examples import run
from playwright.sync_api import expect

from tests.conftest import ROOT

from ..stores.redis_server import RedisServer
from .chat_worker import WORDS

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]  # the page is to be built first

WHOLE = "".join(WORDS)


class Worker:
    """A process of the worker on a store; it can be killed, and begun again on its port."""

    def __init__(self, store):
        self.store, self.port, self.process = store, 0, None
        self.begin()

    def begin(self):
        command = [sys.executable, "-m", "tests.browser.chat_worker", self.store, str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def post(self, path, **options):
        return httpx.post(f"{self.url}{path}", timeout=30, **options).json()

    def allow(self, count):
        """Let the model say more words; returns how many answers were begun."""
        return self.post(f"/allow?count={count}")


@pytest.fixture(scope="module")
def built():
    run.prepare(run.HERE / "13_usechat_page.py")


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def place(built, request, tmp_path):
    """A function that starts a worker on a store."""
    with contextlib.ExitStack() as stack:

        def begin(store="memory"):
            if store == "redis":
                store = request.getfixturevalue("redis").url
            worker = Worker(f"sqlite:{tmp_path / 'file'}" if store == "sqlite" else store)
            stack.callback(worker.kill)
            return worker

        yield begin


def opened(page, worker, chat):
    with page.expect_response(lambda response: response.url.endswith("/stream")):
        page.goto(f"{worker.url}/#{quote(chat)}")
    expect(page.locator("output")).not_to_be_empty()
    return page


def asked(page, worker, text="Hi", words=3):
    """Ask, and wait until the page shows some words of the answer."""
    page.fill("input", text)
    page.click("text=Send")
    worker.allow(words)
    expect(page.locator(".assistant").last).to_have_text("".join(WORDS[:words]))


def shows(page, *answers, status="ready"):
    expect(page.locator("output")).to_have_text(status)
    expect(page.locator(".assistant")).to_have_text(list(answers))


@pytest.fixture
def chat():
    return f"c-{uuid.uuid4()}/ä?"  # odd characters are in an id, too


def test_an_answer_is_streamed_and_the_next_one_too(page, place, chat):
    worker = place()
    opened(page, worker, chat)
    asked(page, worker)
    expect(page.locator("output")).to_have_text("streaming")
    worker.allow(5)
    shows(page, WHOLE)
    asked(page, worker, "And now?", 8)
    shows(page, WHOLE, WHOLE)
    page.reload()
    shows(page, WHOLE, WHOLE)
    assert worker.allow(0) == 2


def test_a_reload_in_mid_answer_goes_on(page, place, chat):
    worker = place()
    opened(page, worker, chat)
    asked(page, worker)
    for words in (3, 4):
        page.reload()
        expect(page.locator(".assistant")).to_have_text(["".join(WORDS[:words])])
        expect(page.locator(".user")).to_have_count(1)
        worker.allow(1)
        expect(page.locator(".assistant")).to_have_text(["".join(WORDS[: words + 1])])
    worker.allow(3)
    shows(page, WHOLE)
    page.reload()
    shows(page, WHOLE)
    expect(page.locator(".user")).to_have_count(1)
    assert worker.allow(0) == 1


@pytest.mark.parametrize("tab", ["same", "other"])
def test_a_stop_ends_the_answer_in_every_tab(page, place, chat, tab):
    worker = place()
    opened(page, worker, chat)
    asked(page, worker)
    second = opened(page.context.new_page(), worker, chat)
    expect(second.locator(".assistant")).to_have_text(["".join(WORDS[:3])])
    (page if tab == "same" else second).click("text=Stop")
    for each in (page, second):
        shows(each, "".join(WORDS[:3]))
        expect(each.locator(".error")).to_have_count(0)
    asked(page, worker, "Again", 8)
    shows(page, "".join(WORDS[:3]), WHOLE)


def test_an_answer_is_made_again_in_its_place(page, place, chat):
    worker = place()
    opened(page, worker, chat)
    asked(page, worker, words=8)
    page.click("text=Answer again")
    worker.allow(8)
    expect(page.locator("output")).to_have_text("ready")
    shows(page, WHOLE)
    assert worker.allow(0) == 2


def test_another_request_ends_the_answer_that_runs(page, place, chat):
    worker = place()
    opened(page, worker, chat)
    asked(page, worker)
    message = {"id": "m", "role": "user", "parts": [{"type": "text", "text": "Other"}]}
    body = {"id": chat, "messages": [message], "trigger": "submit-message"}
    with httpx.stream("POST", f"{worker.url}/api/chat", json=body, timeout=30) as other:
        shows(page, "".join(WORDS[:3]))
        worker.allow(8)
        assert '"finish"' in other.read().decode()
    expect(page.locator(".error")).to_have_count(0)


@pytest.mark.parametrize("status", [401, 403, 409, 413, 422, 429, 503])
def test_a_refusal_is_shown_with_its_text(page, place, chat, status):
    worker = place()
    opened(page, worker, chat)
    page.fill("input", str(status))
    page.click("text=Send")
    expect(page.locator(".error")).to_have_text("this is refused")
    expect(page.locator("output")).to_have_text("error")


def test_a_cut_is_an_error_and_the_answer_goes_on(page, place, chat):
    worker = place()
    opened(page, worker, chat)
    asked(page, worker)
    worker.post("/cut")
    worker.allow(1)
    expect(page.locator("output")).to_have_text("error")
    expect(page.locator(".error")).not_to_be_empty()
    page.click("text=Go on")
    expect(page.locator(".assistant")).to_have_text(["".join(WORDS[:4])])
    worker.allow(4)
    shows(page, WHOLE)
    expect(page.locator(".error")).to_have_count(0)


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_killed_service_is_an_error_also_after_its_restart(page, place, chat, store):
    worker = place(store)
    opened(page, worker, chat)
    asked(page, worker)
    worker.kill()
    expect(page.locator("output")).to_have_text("error")
    expect(page.locator(".error")).not_to_be_empty()
    worker.begin()
    second = opened(page.context.new_page(), worker, chat)
    expect(second.locator(".error")).not_to_be_empty()  # interrupted; or nothing runs any more
    expect(second.locator(".user")).to_have_count(1)
    page.reload()
    expect(page.locator(".error")).not_to_be_empty()
    page.click("text=Answer again")
    worker.allow(8)
    shows(page, WHOLE)
    expect(page.locator(".user")).to_have_count(1)
    expect(page.locator(".error")).to_have_count(0)
