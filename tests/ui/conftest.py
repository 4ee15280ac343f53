"""The chat, its provider, and a page of a real Chromium that uses it."""

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser import conftest as chromium
from tests.conftest import ROOT, run_service
from tests.helpers.provider import Provider

from .running import PYTHON, needs_streamlit, run_chat

browser, page = chromium.browser, chromium.page  # fixtures

STOP = "stChatInputStopButton"
LIMIT = 20_000


class Talk:
    """A page of the chat, with the provider that it reaches."""

    def __init__(self, page, upstream: Provider, url: str) -> None:
        self.page, self.upstream = page, upstream
        page.goto(url)

    def ask(self, question: str) -> None:
        field = self.page.get_by_test_id("stChatInputTextArea")
        expect(field).to_be_enabled(timeout=LIMIT)
        field.fill(question)
        field.press("Enter")

    def sees(self, text: str) -> None:
        expect(self.page.get_by_text(re.compile(text)).last).to_be_visible(timeout=LIMIT)

    def stop(self) -> float:
        """Click on Stop and wait until the provider notices; return after how many seconds."""
        button = self.page.get_by_test_id(STOP)
        button.wait_for()
        start = time.monotonic()
        button.click()
        until(lambda: self.upstream.calls[-1].left)
        return self.upstream.calls[-1].closed - start


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def upstream():
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def variables(upstream):
    return {
        "DUAL_MODE_LLM_PROVIDER": "anthropic",
        "DUAL_MODE_LLM_MODEL": "m",
        "DUAL_MODE_LLM_BASE_URL": upstream.url,
        "ANTHROPIC_API_KEY": "key",
    }


@pytest.fixture
def talk(page, upstream):
    """Return a function that opens the chat at a URL."""
    return lambda url: Talk(page, upstream, url)


@pytest.fixture(scope="module")
def direct(variables):
    """The URL of a chat that calls the model directly."""
    with run_chat(**variables) as url:
        yield url


@pytest.fixture(scope="module")
def by_service(variables):
    """The URL of a chat that calls the service."""
    needs_streamlit()
    with run_service("--log-level", "warning", **variables) as service:
        with run_chat(DUAL_MODE_UI_URL=service.url) as url:
            yield url


@pytest.fixture(scope="module")
def recipe(variables, tmp_path_factory):
    """The first program of docs/streamlit.md: it holds its stream in a variable."""
    text = (ROOT / "docs" / "streamlit.md").read_text("utf-8")
    program = tmp_path_factory.mktemp("recipe") / "recipe.py"
    program.write_text(re.search(r"^```python\n(.*?)^```", text, re.M | re.S)[1])
    flags = ["--server.port={port}", "--server.headless=true", "--server.fileWatcherType=none"]
    flags += ["--browser.gatherUsageStats=false"]
    command = [str(PYTHON), "-m", "streamlit", "run", str(program), *flags]
    with run_chat(*command, **variables) as url:
        yield url
