"""Five generators of clients read the OpenAPI document; what they make is compiled and run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DUAL_MODE, ROOT, not_available
from tests.environments import environment, variables_of

from .test_javascript import installed

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]  # the environments are to be made first

HERE = Path(__file__).parent
DOCUMENTS = pytest.mark.parametrize("app", [[], ["tests.elsewhere.awkward:app"]], ids=str)
ITEMS = [{"index": n, "message": f"Item {n + 1} of 3"} for n in range(3)]


@pytest.fixture(scope="module")
def node():
    home = environment(
        "clients", HERE / "clients" / "package.json", HERE / "clients" / "package-lock.json"
    )
    installed(home)
    return home


@pytest.fixture(scope="module")
def python():
    return environment("python-clients", HERE / "clients.txt")


def run(*command, home, **variables):
    done = subprocess.run(
        list(map(str, command)),
        cwd=home,
        env=os.environ | {"NO_COLOR": "1"} | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def document(home, app, profile):
    """The file with the document, as the command writes it."""
    command = [DUAL_MODE, "openapi", *app, "--profile", profile]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    path = home / "openapi.json"
    path.write_text(text)
    return path


def by_openapi_typescript(home, path):
    run("npx", "openapi-typescript", path, "-o", "types.d.ts", home=home)


def by_hey(home, path):
    shutil.rmtree(home / "hey", ignore_errors=True)
    run("npx", "openapi-ts", "-i", path, "-o", "hey", home=home)


def by_orval(home, path, base=""):
    output = {"target": "./orval.ts", "client": "fetch", "baseUrl": base}
    config = json.dumps({"api": {"input": str(path), "output": output}})
    (home / "orval.config.mjs").write_text(f"export default {config};\n")
    run("npx", "orval", "--config", "orval.config.mjs", home=home)


def by_openapi_generator(home, path, python):
    if shutil.which("java") is None:
        not_available("java", ci_has_it=False)
    shutil.rmtree(home / "generator", ignore_errors=True)
    command = [python / "bin" / "openapi-generator-cli", "generate", "-i", path]
    said = run(*command, "-g", "typescript-fetch", "-o", "generator", home=home)
    assert " ERROR " not in said


def by_openapi_python_client(home, path):
    config = home / "config.yml"
    config.write_text("package_name_override: generated\n")
    command = [home / "bin" / "openapi-python-client", "generate", "--path", path, "--overwrite"]
    directory = ["--config", config, "--meta", "none", "--output-path", home / "generated"]
    path_with_ruff = f"{home / 'bin'}:{os.environ['PATH']}"
    said = run(*command, *directory, home=home, PATH=path_with_ruff)
    assert "WARNING" not in said, said  # of an endpoint that is left out
    run(sys.executable, "-m", "compileall", "-q", "generated", home=home)


def compiled(home, file):
    options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext"]
    found = ["--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable,dom.asynciterable"]
    run("npx", "tsc", *options, *found, file, home=home)


@DOCUMENTS
@pytest.mark.parametrize("profile", ["3.1", "3.2"])
def test_generators_that_read_both_versions(node, app, profile):
    path = document(node, app, profile)
    by_openapi_typescript(node, path)
    by_hey(node, path)
    by_orval(node, path)
    compiled(node, "orval.ts")
    compiled(node, "types.d.ts")
    compiled(node, "hey/index.ts")


@DOCUMENTS
def test_the_generator_of_java(node, python, app):
    path = document(node, app, "3.1")
    by_openapi_generator(node, path, python)
    compiled(node, "generator/index.ts")


@DOCUMENTS
def test_the_generator_of_python(python, app):
    by_openapi_python_client(python, document(python, app, "3.1"))


def test_the_clients_read_what_the_service_sends(node, python, service):
    path = document(node, [], "3.1")
    by_openapi_typescript(node, path)
    by_hey(node, path)
    by_orval(node, path, service)
    by_openapi_generator(node, path, python)
    shutil.copy(HERE / "clients" / "use.ts", node)
    compiled(node, "use.ts")
    options = ["--bundle", "--platform=node", "--format=esm", "--outfile=use.mjs"]
    run("npx", "esbuild", "use.ts", *options, home=node)
    out = json.loads(run("node", "use.mjs", service, home=node))
    assert {name: items for name, items in out.items() if items != ITEMS} == {}
    assert len(out) == 7


def test_the_client_of_python_reads_what_the_service_sends(python, service):
    by_openapi_python_client(python, document(python, [], "3.1"))
    shutil.copy(HERE / "clients" / "use.py", python)
    done = subprocess.run(
        [python / "bin" / "python", python / "use.py", service],
        env=variables_of(python),
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout) == ITEMS, done.stderr
