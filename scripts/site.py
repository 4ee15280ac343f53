"""Write the pages of the site to build/docs, from docs/, the READMEs, examples and docstrings.

The pages can also be read in the repository. For the site their links are changed, and the
contents of other files are inserted. `--api` writes docs/api.md.
"""

import ast
import importlib
import inspect
import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "docs"
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))

# The page of the site for each file of the repository.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples/index.md",
    "exercises/README.md": "exercises.md",
    **{f"docs/{path.name}": path.name for path in sorted((ROOT / "docs").glob("*.md"))},
    **{f"examples/{path.name}": f"examples/{path.stem}.md" for path in EXAMPLES},
}
PICTURES = {
    f"docs/{path.name}": path.name
    for pattern in ("*.png", "*.svg")
    for path in sorted((ROOT / "docs").glob(pattern))
}

MODULES = {
    "dual_mode_streaming": "Endpoints: the decorator, the response, events and errors.",
    "dual_mode_streaming.errors": "The exceptions, as a tree.",
    "dual_mode_streaming.negotiation": "The mode of an answer, by Accept or a flag.",
    "dual_mode_streaming.sse": "Server-Sent Events as bytes: encoding and decoding.",
    "dual_mode_streaming.rendering": "Items as JSON and as frames; the protocol of a wire format.",
    "dual_mode_streaming.running.owner": "The task that owns a generator.",
    "dual_mode_streaming.running.pull": "The pull loop, for a sink of your own.",
    "dual_mode_streaming.running.timeslice": "How long a source may hold the event loop.",
    "dual_mode_streaming.recordings": "Recorded streams without the web: start, read, cancel.",
    "dual_mode_streaming.server.app": "The service as an app.",
    "dual_mode_streaming.server.settings": "The settings of the service.",
    "dual_mode_streaming.server.run": "The service under uvicorn.",
    "dual_mode_streaming.cli": "The command `dual-mode`.",
    "dual_mode_streaming.observability.prometheus": "Metrics.",
    "dual_mode_streaming.observability.opentelemetry": "Traces.",
    "dual_mode_streaming.web": "The state of an app and of a request; endpoint specifications.",
    "dual_mode_streaming.web.wsgi": "Streams in Flask and Django: [the page](elsewhere.md#flask).",
    "dual_mode_streaming.streams": "Operators on async streams: [the page](streams.md).",
    "dual_mode_streaming.bridges": "For code without an event loop: [the page](bridges.md).",
    "dual_mode_streaming.bridges.streamlit": "A chat in Streamlit: [the page](streamlit.md).",
    "dual_mode_streaming.ui.sources": "Answers for a chat in Streamlit: [the page](streamlit.md).",
    "dual_mode_streaming.client": "Clients that read streams: [the page](client.md).",
    "dual_mode_streaming.llm": "Language models: [the page](llm.md).",
    "dual_mode_streaming.llm.providers": "Providers of models: [the page](llm.md).",
    "dual_mode_streaming.llm.wire": "The wire formats of OpenAI and Anthropic.",
    "dual_mode_streaming.limits": "API keys, concurrency limits and rate limits.",
    "dual_mode_streaming.channels": "Named streams with many writers: [channels](channels.md).",
    "dual_mode_streaming.stores": "Stores of streams: [the protocol](protocol.md).",
    "dual_mode_streaming.testing": "Tools for your tests: [the page](testing.md).",
}


def names_of(module: str) -> list[str]:
    """Return the public names of a module."""
    return sorted(importlib.import_module(module).__all__)


def api_page() -> str:
    """Return docs/api.md: the public names, each with the first sentence of its docstring."""
    parts = [
        "# API reference",
        "",
        "All public names. Import each from the module in the heading above it. The site also has"
        "\ntheir signatures and complete docstrings. `scripts/site.py --api` writes this page.",
        "",
    ]
    for module, purpose in MODULES.items():
        parts += [f"## `{module}`", "", purpose, "", "| | |", "|---|---|"]
        for name in names_of(module):
            value = getattr(importlib.import_module(module), name)
            own = inspect.isclass(value) or inspect.isfunction(value)
            docstring = (inspect.getdoc(value) or "") if own else ""
            first = " ".join(docstring.split("\n\n")[0].split())
            sentence = re.split(r"(?<=\.)\s", first)[0]
            parts.append(f"| `{name}` | {sentence.replace('|', chr(92) + '|')} |")
        parts.append("")
    return "\n".join(parts)


def with_docstrings(page: str) -> str:
    """Return the API page with the complete docstrings instead of its tables."""

    def whole(section: re.Match[str]) -> str:
        module = section[1]
        blocks = [f"::: {module}.{name}" for name in names_of(module)]
        return f"## `{module}`\n\n{MODULES[module]}\n\n" + "\n\n".join(blocks) + "\n\n"

    return re.sub(r"^## `([\w.]+)`\n.*?(?=^## |\Z)", whole, page, flags=re.M | re.S)


def example_page(path: Path) -> str:
    """Return the page of an example: its question, its code, its output."""
    text = path.read_text("utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    question, *rest = docstring.split("\n\n")
    code = text.split('"""\n', 2)[-1].strip()
    golden = (ROOT / "examples" / "golden" / f"{path.stem}.txt").read_text("utf-8").strip()
    number = int(path.stem.split("_")[0])
    return (
        f"# {number}. {question}\n\n```python title='examples/{path.name}'\n{code}\n```\n\n"
        f"`make example-{number}` prints\n\n```text\n{golden}\n```\n\n" + "\n\n".join(rest) + "\n"
    )


def examples_index(page: str) -> str:
    """Return the README of the examples with a list of their questions."""
    lines = []
    for path in EXAMPLES:
        question = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines()[0]
        lines.append(f"- [{question}]({path.name})")
    return page.rstrip() + "\n\n" + "\n".join(lines) + "\n"


def relinked(text: str, source: str) -> str:
    """Return the text with links between the pages of the site; other links become plain text."""
    here = Path(PAGES[source]).parent

    def relink(link: re.Match[str]) -> str:
        mark, label, target, heading = link.groups()
        if "://" in target:
            return link[0]
        file = os.path.normpath(Path(source).parent / target) if target else source
        page = (PAGES | PICTURES).get(file)
        if page is None:
            return label
        return f"{mark}[{label}]({os.path.relpath(page, here)}{heading or ''})"

    return re.sub(r"(!?)\[([^\]]+)\]\(([^)#\s]*)(#[^)\s]+)?\)", relink, text)


def main() -> None:
    """Write all pages."""
    sys.path.insert(0, str(ROOT / "src"))
    if sys.argv[1:] == ["--api"]:
        (ROOT / "docs" / "api.md").write_text(api_page(), "utf-8")
        return
    shutil.rmtree(OUT, ignore_errors=True)
    for source, page in PAGES.items():
        path = ROOT / source
        text = example_page(path) if path.suffix == ".py" else path.read_text("utf-8")
        if source == "docs/api.md":
            text = with_docstrings(text)
        elif source == "examples/README.md":
            text = examples_index(text)
        (OUT / page).parent.mkdir(parents=True, exist_ok=True)
        (OUT / page).write_text(relinked(text, source), "utf-8")
    for source, picture in PICTURES.items():
        shutil.copy(ROOT / source, OUT / picture)


if __name__ == "__main__":
    main()
