"""deploy/kubernetes.yaml: its settings exist, and a replica has the time to drain."""

import re

import yaml

from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import load
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
DEPLOYMENT, SERVICE, BUDGET = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8"))
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def test_its_settings_are_right_and_leave_time_to_drain(monkeypatch):
    for told in CONTAINER["env"]:
        monkeypatch.setenv(told["name"], told.get("value", "from the secret of the cluster"))
    settings = load()
    grace = POD["terminationGracePeriodSeconds"]
    assert grace > settings.drain_delay + settings.drain_timeout + 10
    assert settings.store.startswith("redis://")


def test_its_parts_fit_together():
    labels = {"app": "dual-mode"}
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    assert DEPLOYMENT["spec"]["template"]["metadata"]["labels"] == labels
    assert SERVICE["spec"]["selector"] == BUDGET["spec"]["selector"]["matchLabels"] == labels
    assert DEPLOYMENT["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    port = re.search(r"DUAL_MODE_PORT=(\d+)", (DEPLOY / "Dockerfile").read_text("utf-8"))[1]
    (listening,) = CONTAINER["ports"]
    assert listening["containerPort"] == int(port)
    paths = create_app().openapi()["paths"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert CONTAINER[probe]["httpGet"]["path"] in paths
        assert CONTAINER[probe]["httpGet"]["port"] == listening["name"]
