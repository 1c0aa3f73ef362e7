"""A project of checks with a fake target and world, given to pytest through the plugin's own hooks."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kubereach.report.json_report import schema

REPOSITORY = Path(__file__).parents[2]

CONFTEST = """
import kubereach.model.events as events
from kubereach.model.errors import CannotMeasure, Unsupported, UsageError
from kubereach.run.plugin import ensure_plugin
from kubereach.kube.access import ClusterAccess

LOG = []

def pytest_addoption(parser, pluginmanager):
    ensure_plugin(parser, pluginmanager)

class Target:
    name = "fake"
    def open(self):
        LOG.append("open")
        {open}
        return ClusterAccess(None, None, "a fake")
    def watch(self, lost):
        pass
    def close(self):
        print_log("close")

class Node:
    def __init__(self, name):
        self.name, self.address, self.addresses = name, "127.0.0.1", ("127.0.0.1",)

class Cluster:
    nodes = [Node("control-plane"), Node("worker")][:{nodes}]
    findings = {{}}
    node_port_range = None
    def describe(self):
        return {{"version": "v1.36.2", "nodes": [node.name for node in self.nodes]}}

class World:
    pods = other_pods = "some vantages"
    outside = "here"
    def __init__(self, bus, settings, manifests, services):
        self.bus, self.services, self.settings, self.manifests = bus, services, settings, manifests
    @property
    def nodes(self):
        raise Unsupported("pods on the host network are forbidden", feature="host-network")
    def connect(self):
        {connect}
        self.cluster = Cluster()
        return self.cluster
    def start(self):
        LOG.append("start " + ",".join(self.services))
        {start}
        self.bus.emit(events.WorldReady(0.1, 2, ("pod@worker",)))
    def stop(self):
        print_log("stop")
        {stop}
    def service(self, stem):
        return "service " + stem
    def renew(self, changes):
        LOG.append("renew " + ",".join(change.action + " " + change.object for change in changes))
        {renew}
        return ""

def print_log(step):
    LOG.append(step)
    open("log.txt", "w").write(" ".join(LOG))

def pytest_kubereach_target(config):
    return Target()

def pytest_kubereach_world(access, settings, bus, manifests, services):
    assert access.description == "a fake"
    return World(bus, settings, manifests, services)
"""

HEADER = """
import os, signal, time
import pytest
from kubereach import check, CORE, EXT, INFO, DISR, DOCS
from kubereach import HOST_NETWORK, LOADBALANCER, MULTI_NODE, OUTSIDE
from kubereach.model.errors import CannotMeasure, Failure, InstrumentBroke, NotConforming, Unsupported, UsageError
from kubereach.expect import verify
"""


class Project:
    """A folder with suites/ and manifests/, and ways to run it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.fake()
        self.services("nodeport", "second-service")

    def fake(self, nodes: int = 2, **code: str) -> None:
        """Write the conftest; `code` goes into the named method of the fake target or world."""
        parts = {name: code.get(name, "pass") for name in ("open", "connect", "start", "stop", "renew")}
        (self.path / "conftest.py").write_text(CONFTEST.format(nodes=nodes, **parts))

    def services(self, *stems: str) -> None:
        folder = self.path / "manifests" / "services"
        folder.mkdir(parents=True, exist_ok=True)
        for stem in stems:
            (folder / f"{stem}.yaml").write_text("kind: Service\n")

    def checks(self, code: str, name: str = "test_checks.py") -> None:
        folder = self.path / "suites"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(HEADER + textwrap.dedent(code))

    def run(self, *arguments: str, code: int, subprocess: bool = False) -> pytest.RunResult:
        run = self.pytester.runpytest_subprocess if subprocess else self.pytester.runpytest_inprocess
        result = run("-p", "no:cacheprovider", *arguments)
        assert result.ret == code, result.outlines
        return result

    @property
    def report(self) -> dict[str, Any]:
        """The report of the latest run, after a look whether it obeys the published schema."""
        report: dict[str, Any] = json.loads((self.path / "reports/latest/report.json").read_text())
        jsonschema.validate(report, schema(), cls=jsonschema.Draft202012Validator)
        return report

    @property
    def verdicts(self) -> dict[str, str]:
        return {check["id"]: check["verdict"] for check in self.report["checks"]}

    @property
    def log(self) -> str:
        return (self.path / "log.txt").read_text()
