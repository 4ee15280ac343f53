"""Rules for files: their length, what none of them may contain, and pins that fit the package."""

import itertools
import json
import re
import tomllib

import pytest
from packaging.requirements import Requirement

from .repository import PACKAGE, ROOT, project_files, sources

# A file of 300 lines may have two purposes; this is the limit.
LONGEST = 350

# In parts, or this file would contain them.
ELSEWHERE = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "--index" + "-url",
    "--extra-index" + "-url",
    "--find" + "-links",
    "/wor" + "k/",
    "/ro" + "ot/",
    "../sha" + "red",
]
FREE = {"Makefile": ELSEWHERE[3:6]}  # `make lock` uses `--no-emit-…` of them


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_source_file_is_short(path):
    name = str(path.relative_to(PACKAGE))
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= LONGEST, f"{name} has {lines} lines, more than {LONGEST}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_source_file_says_its_purpose(path):
    text = path.read_text("utf-8")
    assert not text.strip() or text.startswith(('"""', "# ")), (
        "the first line does not say its purpose"
    )


@pytest.mark.parametrize("folder", ["examples", "exercises"])
def test_a_file_that_teaches_is_short(folder):
    for path in project_files():
        if path.is_relative_to(ROOT / folder) and path.name != "package-lock.json":
            assert len(path.read_text("utf-8").splitlines()) <= LONGEST, path


def test_no_file_names_a_registry_or_a_place_of_one_machine():
    found = []
    for path in project_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        name = str(path.relative_to(ROOT))
        text = re.sub(r"--no-emit-\S+", "", text) if name in FREE else text
        found += [f"{name}: {word}" for word in ELSEWHERE if word in text]
    assert not found


def pins_of(file):
    """The pinned version of each package that a file lists, and of nothing else."""
    text = (ROOT / file).read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert not [line for line in lines if not re.match(r"[a-z0-9._-]+==\S+( ; .+)?$", line)]
    return dict(line.split(" ")[0].split("==") for line in lines)


SERVER = ["server", "llm", "client", "cli", "metrics"]


@pytest.mark.parametrize(
    ("file", "extras", "groups"),
    [
        ("requirements.txt", [*SERVER, "apidocs", "openai", "redis", "otel"], ["dev"]),
        ("deploy/requirements.txt", [*SERVER, "apidocs", "openai", "redis"], []),
        ("benchmarks/requirements.txt", SERVER, ["bench"]),
        ("docs/requirements.txt", [], ["docs"]),
        ("requirements-ui.txt", [*SERVER, "ui"], []),
    ],
)
def test_every_requirement_is_pinned_and_fits_the_package(file, extras, groups):
    pinned = pins_of(file)
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project, optional = pyproject["project"], pyproject["project"]["optional-dependencies"]
    # Extras are for users; what only we need is in groups, which no wheel has.
    assert set(optional) == {*SERVER, "apidocs", "openai", "otel", "redis", "ui"}
    assert set(pyproject["dependency-groups"]) == {"dev", "bench", "docs"}
    wanted = [project["dependencies"], *(optional[extra] for extra in extras)]
    wanted += [pyproject["dependency-groups"][group] for group in groups]
    for requirement in map(Requirement, itertools.chain(*wanted)):
        name = requirement.name.lower().replace("_", "-")
        if name != project["name"]:
            assert name in pinned, f"{name} is not pinned: make lock"
            assert requirement.specifier.contains(pinned[name]), f"{name} is pinned wrong"


@pytest.mark.parametrize("client", ["litellm", "langchain", "pydantic-ai", "llm-comply"])
def test_a_foreign_client_is_pinned_and_the_page_has_its_version(client):
    foreign = ROOT / "tests" / "llm" / "foreign"
    page = (ROOT / "docs" / "llm.md").read_text("utf-8")
    pinned = pins_of(foreign / f"{client}.txt")
    for name in re.findall(r"^[a-z-]+", (foreign / f"{client}.in").read_text("utf-8"), re.M):
        assert name == "mcp" or f" {pinned[name]}" in page


@pytest.mark.parametrize(
    ("folder", "page"), [("foreign", "llm"), ("agents", "llm"), ("frontends", "frontends")]
)
def test_the_page_has_the_versions_of_the_clients_of_node(folder, page):
    packages = json.loads((ROOT / f"tests/llm/{folder}/package.json").read_text("utf-8"))
    page = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    pins = {name: v.rpartition("@")[2] for name, v in packages["dependencies"].items()}
    assert not [version for version in pins.values() if f" {version}" not in page]
    locked = json.loads((ROOT / f"tests/llm/{folder}/package-lock.json").read_text("utf-8"))
    for name, version in pins.items():
        assert locked["packages"][f"node_modules/{name}"]["version"] == version


def test_the_page_has_the_version_of_the_claude_agent_sdk():
    pinned = pins_of("tests/llm/agents/claude-agent-sdk.txt")["claude-agent-sdk"]
    assert f"Claude Agent SDK {pinned}" in (ROOT / "docs" / "llm.md").read_text("utf-8")


def test_what_the_page_for_elsewhere_is_tested_with_is_pinned():
    elsewhere = ROOT / "tests" / "elsewhere"
    assert pins_of(elsewhere / "jupyter.txt")
    assert pins_of(elsewhere / "decorators.txt")
    assert pins_of(elsewhere / "readers.txt")
    assert pins_of(elsewhere / "genai-processors.txt")
    assert pins_of(elsewhere / "clients.txt")
    assert pins_of("tests/typing/pyright.txt")
    for folder in ("next", "sse", "clients", "htmx"):
        package = (elsewhere / folder / "package.json").read_text("utf-8")
        lock = (elsewhere / folder / "package-lock.json").read_text("utf-8")
        locked = json.loads(lock)["packages"]
        for name, version in json.loads(package)["dependencies"].items():
            assert locked[f"node_modules/{name}"]["version"] == version
        assert not [name for name, entry in locked.items() if "resolved" in entry]


def test_the_page_for_elsewhere_has_the_versions_of_the_generators():
    page = (ROOT / "docs" / "elsewhere.md").read_text("utf-8")
    clients = ROOT / "tests" / "elsewhere" / "clients"
    pins = json.loads((clients / "package.json").read_text("utf-8"))["dependencies"]
    python = pins_of(clients.with_suffix(".txt"))
    named = ["openapi-typescript", "openapi-fetch", "@hey-api/openapi-ts", "orval"]
    assert all(f"{name} {pins[name]}" in page for name in named)
    assert f"openapi-generator {python['openapi-generator-cli']}" in page
    assert f"openapi-python-client {python['openapi-python-client']}" in page


def test_the_orientation_is_short():
    assert len((ROOT / "CLAUDE.md").read_text("utf-8").splitlines()) < 100
