"""What contributors read and CI runs agrees with the repository: commands, paths, versions."""

import re
import shlex
import tomllib

import pytest
import yaml

from .repository import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
TEXTS = {
    name: (ROOT / name).read_text("utf-8")
    for name in (
        "CONTRIBUTING.md",
        ".pre-commit-config.yaml",
        ".github/workflows/ci.yml",
        ".github/dependabot.yml",
        ".github/pull_request_template.md",
    )
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_commands_and_files_that_are_named_exist(name):
    text = TEXTS[name]
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))
    assert set(re.findall(r"\bmake ([a-z-]+)\b(?=[`\n ]+)", text)) <= targets
    for path in re.findall(r"(?<![\w/])(?:tests|docs|scripts)/[\w./-]+|\.ci/run", text):
        assert (ROOT / path.rstrip(".")).exists(), path
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert "://" in link or (ROOT / link).exists(), link


def test_every_yaml_file_can_be_read():
    for name in (".pre-commit-config.yaml", *map(str, (ROOT / ".github").rglob("*.yml"))):
        assert yaml.safe_load((ROOT / name).read_text("utf-8")), name


def test_the_hooks_are_local_and_their_programs_are_those_of_the_project():
    config = yaml.safe_load(TEXTS[".pre-commit-config.yaml"])
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert shlex.split(hook["entry"])[0].startswith(".venv/bin/")


def test_ci_has_every_python_that_is_promised():
    promised = set(re.findall(r"Python :: (3\.\d+)", str(PYPROJECT["project"]["classifiers"])))
    tested = set(re.findall(r'"(3\.\d+)"', TEXTS[".github/workflows/ci.yml"]))
    assert tested == promised
    assert PYPROJECT["project"]["requires-python"] == f">={min(promised)}"


def test_the_changelog_has_the_version():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings[0] == "Unreleased"
    assert (
        re.fullmatch(r"(\S+) \(\d{4}-\d\d-\d\d\)", headings[1])[1]
        == PYPROJECT["project"]["version"]
    )
