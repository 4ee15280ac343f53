"""The Python snippets of the pages in docs/ run as they stand there."""

import re
import subprocess
import sys

import pytest

from .repository import ROOT

# Those of architecture.md are quotations, not programs.
PAGES = {"testing": 3, "streams": 3, "bridges": 4, "llm": 2, "client": 3}

ELSEWHERE = {"streamlit": 2}  # tests/ui runs the first, where Streamlit is


def snippets(page):
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "number"), [(page, n) for page, count in PAGES.items() for n in range(count)]
)
def test_a_snippet_runs(page, number):
    program = ["-W", "error", "-c", snippets(page)[number]]
    subprocess.run([sys.executable, *program], check=True, timeout=30)


@pytest.mark.parametrize("page", sorted(path.stem for path in (ROOT / "docs").glob("*.md")))
def test_none_is_left_out(page):
    assert len(snippets(page)) == (PAGES | ELSEWHERE).get(page, 0)
