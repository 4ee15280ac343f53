"""The snippets of docs/testing.md run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs(snippet):
    subprocess.run([sys.executable, "-W", "error", "-c", snippet], check=True, timeout=30)


def test_there_are_snippets():
    assert len(SNIPPETS) == 3
