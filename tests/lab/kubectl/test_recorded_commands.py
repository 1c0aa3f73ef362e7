"""Every command of recordings/kubectl.md, in order, by kubectl: its exit code and what it writes."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab_access import PATIENCE, LabAccess

from . import programs, recorded
from .conftest import Kubectl, agreement

_NAMESPACE = "golden-kubectl"
_IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"

#: by title: why the lab's answer is another one
_EXCEPTIONS = {
    "apply --server-side": "the lab has no server-side apply, and says so (501)",
}

#: by title: why a kubectl may end before it has written what it wrote when it was recorded
_MAY_BE_SILENT = {
    "cp from a pod": "kubectl ends as soon as it has the file, whether or not it has told what tar said meanwhile",
}


def _service(name: str, port: int, **more: str) -> dict[str, Any]:
    ports = [{"port": port, "targetPort": 8080, **more}]
    spec = {"selector": {"app": "web"}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _deployment(replicas: int) -> dict[str, Any]:
    labels = {"app": "web"}
    container = {"name": "c", "image": _IMAGE, "args": ["netexec"]}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


#: by title: the objects on standard input
_OBJECTS = {
    "apply: create a Service (client side)": [_service("web", 80)],
    "apply: the same again, unchanged": [_service("web", 80)],
    "apply: changed": [_service("web", 81)],
    "apply: create a Deployment": [_deployment(2)],
    "apply: Deployment changed": [_deployment(3)],
    "apply: two documents": [_service("web", 80), _deployment(2)],
    "apply --server-side": [_service("ssa", 80)],
    "apply --dry-run=server": [_service("dry", 80)],
    "apply: unknown field": [_service("web", 80, colour="red")],
    "diff": [_service("web", 82)],
    "create -f": [_service("cr", 80)],
    "create: exists": [_service("cr", 80)],
    "replace": [_service("cr", 80)],
    "delete -f": [_service("cr", 80)],
}


class _Player:
    def __init__(self, kubectl: Kubectl, lab: LabAccess, folder: Path) -> None:
        self.kubectl = kubectl
        self.lab = lab
        self.folder = folder
        #: what must have come about before a command, as it had when it was recorded
        self.before: dict[str, Callable[[], Any]] = {
            "delete --force": lambda: lab.ready_pods(_NAMESPACE, 1, "app=web"),
            "logs": self._logs_written,
        }

    def _logs_written(self) -> None:
        for pod in self._pods():
            self.lab.pod(_NAMESPACE, pod, lambda found: found["status"]["phase"] == "Running")
            path = f"/api/v1/namespaces/{_NAMESPACE}/pods/{pod}/log"
            with self.lab.http.stream("GET", path, params={"follow": "true"}) as answer:
                lines = answer.iter_lines()
                assert next(lines) and next(lines)

    def _pods(self) -> list[str]:
        pods = self.lab.get(f"/api/v1/namespaces/{_NAMESPACE}/pods", labelSelector="app=web")["items"]
        return sorted(p["metadata"]["name"] for p in pods if "deletionTimestamp" not in p["metadata"])

    def _words(self, command: recorded.Command) -> list[str]:
        words = []
        for word in command.words:
            if match := re.match(r"web-\w{8,10}-\w{5}\b", word):
                word = word.replace(match[0], self._pods()[0])
            word = word.replace("kind-", "kubereach-").replace("18081:", f"{_free_port()}:")
            words.append(str(self.folder / "copied") if word == "LOCAL" else word)
        return words

    def play(self, command: recorded.Command) -> str:
        """What differs; empty if nothing does."""
        self.before.get(command.title, lambda: None)()
        words = self._words(command)
        objects = _OBJECTS.get(command.title, [])
        stdin = "abc\n" if command.title == "exec -i" else yaml.safe_dump_all(objects)
        if command.exit is None:
            done = self._until(words, command.stdout or "")
        else:
            done = self.kubectl.run(*words, stdin=stdin)
        if command.title in _EXCEPTIONS:
            assert done.returncode != command.exit, f"{command.title} needs no exception any more"
            # what it would have made, for the commands that come after it
            self.kubectl.ok("create", "-f", "-", stdin=stdin)
            return ""
        differs = []
        if done.returncode != (command.exit or 0):
            differs.append(f"exit code {done.returncode} and not {command.exit}: {done.stderr}")
        for name, expected, found in (
            ("stdout", command.stdout, done.stdout),
            ("stderr", command.stderr, done.stderr),
        ):
            if expected is None:
                continue
            wanted, got = recorded.normal(expected), recorded.normal(found)
            if not got and command.title in _MAY_BE_SILENT:
                assert (self.folder / "copied").read_text().startswith("web-")
                continue
            # long errors were recorded up to their 400th character
            if wanted != got and not (len(expected) >= 395 and got.startswith(wanted)):
                differs.append(f"{name} is\n{got}\nand not\n{wanted}")
        return "\n".join(differs)

    def _until(self, words: list[str], expected: str) -> subprocess.CompletedProcess[str]:
        """Runs a command until it has written as many lines as were recorded, and ends it."""
        count = len(expected.splitlines())
        with self.kubectl.start(*words) as process:
            assert process.stdout is not None and process.stderr is not None
            timer = threading.Timer(PATIENCE, process.kill)
            timer.start()
            lines = [process.stdout.readline() for _ in range(count)]
            timer.cancel()
            process.terminate()
            rest = process.stdout.read()
            return subprocess.CompletedProcess(words, 0, "".join(lines) + rest, process.stderr.read())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_every_recorded_command(lab: LabAccess, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """One test, because each command builds on what those before it have done."""
    kubectl = Kubectl(programs.kubectl(), lab, _NAMESPACE)
    lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
    player = _Player(kubectl, lab, tmp_path)
    played = recorded.commands()
    differing = {command.title: text for command in played if (text := player.play(command))}
    lab.delete(f"/api/v1/namespaces/{_NAMESPACE}")
    excepted = len(_EXCEPTIONS)
    agreeing = len(played) - len(differing) - excepted
    lines = [f"{agreeing} of {len(played)} agree, by kubectl v1.{programs.minor(kubectl.program)}"]
    lines += [f"left out on purpose: {title}: {reason}" for title, reason in _EXCEPTIONS.items()]
    request.config.stash[agreement] = lines
    assert not differing, "\n\n".join(f"## {title}\n{text}" for title, text in differing.items())
