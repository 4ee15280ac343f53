"""deploy/Dockerfile: linted, followed without Docker, and built where there is a daemon."""

import fnmatch
import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, not_available
from tests.stores.redis_server import free_port

from .dockerfile import FILE, IGNORED, build, copied, health_check, instructions, last, variables


def test_hadolint_finds_no_fault_in_it():
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        not_available("hadolint")
    done = subprocess.run([program, FILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_it_copies_is_there_and_sent_and_nothing_else_is():
    everything, *rules = [
        line for line in IGNORED.read_text("utf-8").splitlines() if not line.startswith("#")
    ]
    assert everything == "*"
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    wanted = {source for sources, _ in copied() for source in sources}
    assert wanted == sent
    assert all((ROOT / name).exists() for name in wanted)
    assert not [name for name in wanted if fnmatch.fnmatch(name, "*.env")]


def test_the_service_is_not_root_and_hears_the_signal():
    user, _, group = last("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert json.loads(last("ENTRYPOINT")) == ["dual-mode", "serve"]
    assert last("STOPSIGNAL") == "SIGTERM"
    names = [name for name, _ in instructions()]
    assert "RUN" not in names[names.index("USER") :]


def test_the_health_check_tells_a_service_that_lives_from_one_that_does_not(service):
    program, *arguments = health_check()
    assert program == "python"
    for port, code in [(httpx.URL(service).port, 0), (free_port(), 1)]:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | {"DUAL_MODE_PORT": str(port)},
            capture_output=True,
        )
        assert done.returncode == code


@pytest.mark.full
@pytest.mark.timeout(300)
def test_its_commands_make_an_environment_that_serves(tmp_path):
    """What `RUN` and `COPY` say, done in a folder; then what the second stage says."""
    tools, image = tmp_path / "tools", tmp_path / "image"
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--seed", tools, "--python", sys.executable], check=True)
    build(image, f"{tools}/bin:{os.environ['PATH']}")
    assert (image / "data").is_dir()
    installed = image / "opt" / "dual-mode"
    assert not list(installed.glob("bin/pip*"))
    assert not list(installed.glob("lib/*/site-packages/pytest*"))
    program = installed / "bin" / "dual-mode"
    told = variables()
    assert told["PATH"].split(":")[0] == "/opt/dual-mode/bin"
    port = str(free_port())
    store = f"sqlite:{image}/data/streams.db"
    here = os.environ | told | {"PATH": str(program.parent), "DUAL_MODE_PORT": port}
    with subprocess.Popen(
        [program, *json.loads(last("ENTRYPOINT"))[1:], "--store", store],
        cwd=tmp_path,
        env=here,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"Serving on http://0.0.0.0:{port}\n"
            checked = subprocess.run(health_check(), cwd=tmp_path, env=here)
            assert checked.returncode == 0
            address = f"http://127.0.0.1:{port}/chat"
            assert httpx.post(address, json={"messages": "Hello"}, timeout=60).status_code == 200
            address = f"http://127.0.0.1:{port}/docs/scalar.js"
            assert httpx.get(address, timeout=60).status_code == 200
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


@pytest.mark.full
@pytest.mark.timeout(900)
def test_docker_builds_it_and_finds_it_healthy():
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode:
        not_available("docker-daemon", ci_has_it=False)
    name = f"dual-mode-test-{uuid.uuid4().hex}"

    def run(*arguments):
        done = subprocess.run([docker, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    run("build", "--file", str(FILE), "--tag", name, ".")
    try:
        run("run", "--detach", "--name", name, "--read-only", "--cap-drop", "ALL", name)
        healthy = "until [ \"$(docker inspect -f '{{.State.Health.Status}}' $0)\" = healthy ]; "
        subprocess.run(["sh", "-c", f"{healthy} do sleep 0.5; done", name], timeout=60, check=True)
        assert run("exec", name, "id", "-u") == "10001"
        run("stop", "--time", "15", name)
        assert run("inspect", "-f", "{{.State.ExitCode}}", name) == "0"
    finally:
        subprocess.run([docker, "rm", "--force", "--volumes", name], capture_output=True)
        subprocess.run([docker, "rmi", "--force", name], capture_output=True)
