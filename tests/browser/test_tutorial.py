"""The page that the tutorial makes in its step 5, in a real browser."""

import re

from dual_mode_streaming.bridges import LoopThread
from dual_mode_streaming.testing import serving
from tests.conftest import ROOT

BLOCKS = re.findall(
    r"^```python title=.*?\n(.*?)^```",
    (ROOT / "docs" / "tutorial.md").read_text("utf-8"),
    re.M | re.S,
)


def test_nine_lines_appear_and_the_page_asks_once(page):
    (program,) = [text for text in BLOCKS if "HTMLResponse" in text]
    names = {"__name__": "my_stream"}
    exec(compile(program, "my_stream.py", "exec"), names)
    asked = []
    page.on("request", lambda request: "/tea" in request.url and asked.append(request.url))
    with LoopThread() as loop:
        served = serving(names["app"])
        url = loop.run(served.__aenter__())
        try:
            page.goto(url)
            page.wait_for_function("document.querySelectorAll('li').length === 9")
            page.wait_for_function(
                "document.querySelectorAll('li')[8].textContent === 'cup 3: pour'"
            )
            page.wait_for_function("source.readyState === EventSource.CLOSED")
        finally:
            loop.run(served.__aexit__(None, None, None))
    assert len(asked) == 1
