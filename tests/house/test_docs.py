"""The Python snippets of the pages in docs/ run as they are, and their links are valid."""

import re
import runpy
import subprocess
import sys
import tomllib

import pytest

from dual_mode_streaming.llm import LLMSettings
from dual_mode_streaming.server.settings import Settings

from .repository import PACKAGE, ROOT

# The number of snippets of each page. Those of architecture.md are quotations, not programs. Those
# of tutorial.md run in test_tutorial.py, and those of elsewhere.md that have titles in
# tests/elsewhere.
PAGES = {
    "bridges": 4,
    "channels": 3,
    "client": 3,
    "comparison": 2,
    "concepts": 4,
    "deployment": 1,
    "elsewhere": 2,
    "frontends": 3,
    "llm": 5,
    "mistakes": 6,
    "operations": 5,
    "patterns": 11,
    "protocol": 2,
    "streams": 3,
    "testing": 5,
}
ELSEWHERE = {"streamlit": 2}  # tests/ui runs the first, with Streamlit installed
ALL = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))

# Each snippet is a separate program with its own names. One process runs all snippets of a page,
# because the imports take most of the time. A traceback shows the line of the page.
RUN_ALL = r"""
import pathlib, re, sys
path = pathlib.Path(sys.argv[1])
text = path.read_text("utf-8")
for snippet in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
    above = "\n" * text.count("\n", 0, snippet.start(1))
    exec(compile(above + snippet[1], str(path), "exec"), {"__name__": "__main__"})
"""


def text_of(page):
    return (ROOT / "docs" / f"{page}.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_the_snippets_of_a_page_run(page):
    program = [sys.executable, "-W", "error", "-c", RUN_ALL, f"docs/{page}.md"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [page for page in ALL if page != "tutorial"])
def test_each_snippet_is_counted(page):
    count = (PAGES | ELSEWHERE).get(page, 0)
    assert len(re.findall(r"^```python\n", text_of(page), re.MULTILINE)) == count


@pytest.mark.parametrize("page", ALL)
def test_it_imports_public_modules_only(page):
    modules = re.findall(
        r"^(?:from|import) (dual_mode_streaming[\w.]*)", text_of(page), re.MULTILINE
    )
    assert [module for module in modules if "._" in module] == []


@pytest.mark.parametrize("page", ALL)
def test_its_links_are_valid(page):
    """Links within the repository, with their headings; `make docs` checks those of the site."""
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" in link:
            continue
        file, _, heading = link.partition("#")
        path = ROOT / "docs" / (file or f"{page}.md")
        assert path.exists(), link
        if heading:
            assert heading in headings(path.read_text("utf-8")), link


def headings(text):
    """Return the anchors of a page, as the site and the host of the repository make them."""
    plain = (re.sub(r"[^\w\- ]", "", line.lower()) for line in re.findall(r"^#+ (.+)", text, re.M))
    return [line.strip().replace(" ", "-") for line in plain]


def test_the_api_page_has_the_current_docstrings():
    site = runpy.run_path(str(ROOT / "scripts" / "site.py"))
    assert text_of("api") == site["api_page"](), "scripts/site.py --api writes it"


def test_the_site_has_every_page():
    site = runpy.run_path(str(ROOT / "scripts" / "site.py"))
    config = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    listed = re.findall(r"[\w/-]+\.md", str(config["project"]["nav"]))
    examples = {page for page in site["PAGES"].values() if re.match(r"examples/\d", page)}
    assert sorted(listed) == sorted(set(site["PAGES"].values()) - examples)


def test_operations_lists_each_setting():
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", text_of("operations")))
    names = {*Settings.model_fields, *(f"llm_{name}" for name in LLMSettings.model_fields)}
    assert {name.upper() for name in names - {"llm"}} <= named


def test_the_way_of_a_request_names_what_there_is():
    """Each file and each function of the table in docs/architecture.md exists."""
    table = re.findall(r"^\| \d+ \|.*\| (.+) \|$", text_of("architecture"), re.MULTILINE)
    assert len(table) > 10
    for row in table:
        text = ""
        for name in re.findall(r"`([^`]+)`", row):
            if name.endswith(".py"):
                text = (PACKAGE / name).read_text("utf-8")
            else:
                last = name.rpartition(".")[2]
                assert re.search(rf"\b(def|class) {last}\b|\b{last}[:,]", text), f"{name}: {row}"
