"""The snippets of docs/elsewhere.md, and what they are run against."""

import re
from collections.abc import Iterator

import pytest

from dual_mode_streaming.bridges import LoopThread
from dual_mode_streaming.testing import serving
from tests.browser.conftest import browser, page
from tests.conftest import ROOT
from tests.helpers.gated import GatedApp

__all__ = ["browser", "page"]

PAGE = (ROOT / "docs" / "elsewhere.md").read_text("utf-8")
FENCES = dict(re.findall(r'^```\w+ title="([^"\n]+)"\n(.*?)^```', PAGE, re.M | re.S))
ADDRESS = "http://127.0.0.1:8000"


def snippet(title: str, url: str = ADDRESS) -> str:
    """One of them, which asks `url` and is otherwise as it stands on the page."""
    return FENCES[title].replace(ADDRESS, url)


@pytest.fixture(scope="package")
def running() -> Iterator[GatedApp]:
    """One server for all tests: to start and stop one takes longer than most of them."""
    with LoopThread() as loop:
        upstream = GatedApp()
        served = serving(upstream.app)
        upstream.url = loop.run(served.__aenter__())
        try:
            yield upstream
        finally:
            loop.run(served.__aexit__(None, None, None))


@pytest.fixture
def upstream(running: GatedApp) -> GatedApp:
    """A service whose items come when the test says so."""
    running.begin()
    return running
