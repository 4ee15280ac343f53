"""deploy/compose.yaml: its parts fit together, and Docker has nothing against it."""

import re
import shutil
import subprocess

import pytest
import yaml

from dual_mode_streaming.server.settings import load
from tests.conftest import ROOT, not_available

from .nginx import CONFIG

FILE = ROOT / "deploy" / "compose.yaml"
SERVICES = yaml.safe_load(FILE.read_text("utf-8"))["services"]
WORKERS = {name: told for name, told in SERVICES.items() if name.startswith("worker")}


def test_nginx_asks_the_workers_that_there_are():
    port = re.search(r"DUAL_MODE_PORT=(\d+)", (FILE.parent / "Dockerfile").read_text("utf-8"))[1]
    asked = re.findall(r"^ *server (\S+) .*;", CONFIG.read_text("utf-8"), re.M)
    assert asked == 2 * [f"{name}:{port}" for name in WORKERS]  # with idle connections, and without
    assert set(SERVICES["nginx"]["depends_on"]) == set(WORKERS)
    (mount,) = SERVICES["nginx"]["volumes"]
    assert (FILE.parent / mount.split(":")[0]).resolve() == CONFIG
    (published,) = SERVICES["nginx"]["ports"]
    assert f"listen {published.split(':')[1]};" in CONFIG.read_text("utf-8")


@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_is_the_dockerfile_with_settings_that_there_are(worker, monkeypatch):
    told = WORKERS[worker]
    context = (FILE.parent / told["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / told["build"]["dockerfile"]).is_file()
    for name, value in told["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load()  # raises if one is unknown or wrong
    host = re.fullmatch(r"redis://(\w+):6379/0", settings.store)[1]
    assert "healthcheck" in SERVICES[host]
    assert told["depends_on"][host]["condition"] == "service_healthy"
    grace = float(told["stop_grace_period"].removesuffix("s"))
    assert grace > settings.drain_delay + settings.drain_timeout + 5


def test_no_container_may_gain_rights():
    for name in ("nginx", *WORKERS):
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]
        assert SERVICES[name]["read_only"] is True
        assert "ports" not in SERVICES[name] or name == "nginx"


def test_docker_reads_it():
    """This needs no daemon, but the plugin."""
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True).returncode
    ):
        not_available("docker-compose", ci_has_it=False)
    command = [docker, "compose", "-f", str(FILE), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
