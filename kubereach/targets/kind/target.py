"""A kind cluster as a target: made for the run and gone with it, or one that is there, which stays."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kubereach.kube.access import ClusterAccess
from kubereach.model.errors import CannotMeasure, UsageError
from kubereach.model.settings import Settings
from kubereach.targets.kind import balancer, notes, outside
from kubereach.targets.kind.cluster import Cluster
from kubereach.targets.kind.commands import idle
from kubereach.targets.kind.config import configuration, leaves_the_network_to_others
from kubereach.targets.kind.engine import Engine
from kubereach.targets.kind.failures import KNOWN_ISSUES, error_of
from kubereach.targets.kind.leftovers import sweep
from kubereach.targets.kind.notes import HeldNote, Note
from kubereach.targets.kind.options import KindChoice

_NOTHING, _MAKING, _MADE = range(3)


class KindTarget:
    """`default` is the configuration of a cluster for which the user gives none; `say` gets steps, for people."""

    name = "kind"

    def __init__(
        self,
        choice: KindChoice,
        settings: Settings,
        default: Path,
        say: Callable[[str], None],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._choice = choice
        self._settings = settings
        self._default = default
        self._say = say
        self._environment = environment
        self._cluster: Cluster | None = None
        self._state = _NOTHING
        self._note: HeldNote | None = None

    def open(self) -> ClusterAccess:
        """Use the cluster of that name, or make it, which takes a minute or two; first delete those of dead runs.

        Raises `UsageError` for a configuration that is none and for options that a cluster which is there does not
        follow; `CannotMeasure` for whatever keeps a cluster from coming up.
        """
        choice = self._choice
        config = configuration(choice, self._default)
        engine = Engine(self._environment)
        engine.check()
        cluster = Cluster(choice, self._settings.cluster_deadline, self._environment)
        self._cluster = cluster
        cluster.ensure_kind()
        cluster.ensure_kubectl()
        sweep(engine, self._environment, lambda line: self._say(f"kind: cluster {line}"))
        there = cluster.exists()
        nodes = self._reuse(cluster, config) if there else self._make(cluster, engine, config)
        self._load_image(cluster, engine)
        why = outside.why_not_here(
            engine, [a for n in nodes for a in _inside(n)], self._settings.outside_timeout
        )
        if why and not engine.has_image(self._settings.image):
            self._say(f"kind: pulling {self._settings.image} for the outside vantage")
            engine.pull(self._settings.image, self._settings.cluster_deadline)
        by, ours = self._balanced(cluster, engine, there)
        age = "reused" if there else "kept after the run" if choice.keep else "created for the run"
        place = f"a container on the network {engine.network} ({why})" if why else "this machine"
        return ClusterAccess(
            cluster.kubeconfig_path,
            cluster.context,
            f"kind cluster {choice.name}, {age}, {cluster.version()} on {engine.name}; outside: {place}; {by}",
            disposable=self._state == _MADE and not choice.keep,
            outside_via=outside.command(engine, self._settings.image) if why else "",
            outside_why=why,
            self_load_balancer=ours,
        )

    def watch(self, lost: Callable[[str], None]) -> None:
        """Not watched: an API that is gone shows in the requests to it."""

    def export_logs(self, folder: Path) -> Path | None:
        """`kind export logs`, where there is a cluster that is ours to look into."""
        cluster = self._cluster
        if cluster is None or not cluster.node_containers():
            return None
        logs = folder / "kind-logs"
        shutil.rmtree(logs, ignore_errors=True)  # of an earlier run, maybe of other nodes
        self._say("kind: exporting logs")
        done = cluster.export_logs(logs)
        if logs.exists():
            logs.chmod(0o700)
        # some of the files may be missing and the others are worth reading all the same
        return logs if done.ok or logs.exists() else None

    def close(self) -> None:
        """Delete the cluster if it is ours and not to be kept; also one that is half made. Safe to call twice."""
        cluster, state = self._cluster, self._state
        self._cluster, self._state = None, _NOTHING
        if cluster is not None and (state == _MAKING or (state == _MADE and not self._choice.keep)):
            self._say(f"kind: deleting cluster {cluster.name}")
            cluster.delete()
            self._forget()

    def _make(self, cluster: Cluster, engine: Engine, config: dict[str, Any]) -> list[dict[str, Any]]:
        self._say(f"kind: creating cluster {cluster.name}")
        self._remember(cluster, engine)
        self._state = _MAKING

        def on_line(line: str) -> None:
            if line:
                self._say(f"kind: {line.strip(' •✓✗.')}")
                self._note_nodes(cluster, engine, line)

        try:
            cluster.create(config, on_line, self._note.touch if self._note else idle)
        except CannotMeasure as error:
            if "another process" in error.message:
                self._state = _NOTHING  # not ours to delete
                self._forget()
            raise
        self._state = _MADE
        if self._choice.keep:
            self._forget()
        nodes = self._nodes(cluster, "")
        self._await(cluster, "nodes", ("--for=condition=Ready", "node", "--all"), config)
        system = ("--namespace=kube-system", "--for=condition=Ready", "pod", "--all")
        self._await(cluster, "system pods", system, config)
        return nodes

    def _remember(self, cluster: Cluster, engine: Engine) -> None:
        """Note the cluster where a later run finds it, should this one be killed. Raises `CannotMeasure`."""
        files = [str(file) for file in cluster.files]
        kind, kubeconfig = str(cluster.kind_path), str(cluster.kubeconfig_path)
        note = Note(cluster.name, engine.identity, kind, kubeconfig, files, os.getpid(), time.time())
        where = notes.folder(self._environment)
        try:
            self._note = notes.begin(where, note)
        except OSError as error:
            self._say(
                f"kind: cannot record the cluster in {where} ({error.strerror}): if this run is killed, "
                "the cluster remains"
            )
            return
        if self._note is None:
            raise CannotMeasure(
                f"another run is creating the kind cluster {cluster.name}",
                "Wait until it exists, or use another --cluster-name.",
            )

    def _note_nodes(self, cluster: Cluster, engine: Engine, line: str) -> None:
        """Note when kind begins to make nodes, and which containers those are as soon as all are there."""
        held = self._note
        if held is None or "Preparing nodes" not in line:
            return
        if "✓" not in line:
            held.note.begun = time.time()
        else:
            with contextlib.suppress(CannotMeasure):  # then the time has to tell
                held.note.nodes = [node for node, _ in engine.kind_nodes(cluster.name)]
        held.write()

    def _forget(self) -> None:
        if self._note is not None:
            self._note.remove()
            self._note = None

    def _await(self, cluster: Cluster, what: str, condition: tuple[str, ...], config: dict[str, Any]) -> None:
        """Wait until all are ready, by kubectl. Raises `CannotMeasure`."""
        limit = self._settings.world_deadline
        self._say(f"kind: waiting for {what}")
        done = cluster.ask("wait", *condition, f"--timeout={limit:.0f}s", deadline=limit)
        if done.ok:
            return
        reason = error_of(done, "").message
        if leaves_the_network_to_others(config):
            remedy = (
                "With disableDefaultCNI a CNI must be installed by hand: create the cluster with `kind "
                "create cluster`, install a CNI, then run with its --cluster-name."
            )
        else:
            remedy = (
                f"Check memory, disk space and inotify limits: {KNOWN_ISSUES}. On a slow machine raise "
                "--set world_deadline=600."
            )
        raise CannotMeasure(f"the {what} of kind cluster {cluster.name} are not ready: {reason}", remedy)

    def _reuse(self, cluster: Cluster, config: dict[str, Any]) -> list[dict[str, Any]]:
        self._say(f"kind: using the existing cluster {cluster.name}")
        exported = cluster.export_kubeconfig()
        if not exported.ok:
            raise self._half_made(cluster, error_of(exported, "").message)
        shape = self._choice.shape
        if shape and not cluster.record.fits(cluster.kubeconfig_path, config, self._choice.image):
            raise UsageError(
                f"the kind cluster {cluster.name} exists and was not created with {' '.join(shape)}",
                f"Run `kind delete cluster --name {cluster.name}`, use another --cluster-name, or leave "
                "out these options.",
            )
        nodes = self._nodes(cluster, "its API does not answer: ")
        registered = {node["metadata"]["name"] for node in nodes}
        missing = [name for name in cluster.node_containers() if name not in registered]
        if missing:
            raise self._half_made(cluster, f"{', '.join(missing)} did not join the cluster")
        return nodes

    def _nodes(self, cluster: Cluster, why: str) -> list[dict[str, Any]]:
        done = cluster.ask("get", "nodes", "--output=json", "--request-timeout=20s", deadline=20)
        try:
            items = json.loads(done.out)["items"] if done.ok else []
        except (ValueError, KeyError):
            items = []
        if not items:
            raise self._half_made(
                cluster, why + error_of(done, "").message if not done.ok else "it has no nodes"
            )
        return list(items)

    def _half_made(self, cluster: Cluster, reason: str) -> CannotMeasure:
        if self._state == _MADE:
            return CannotMeasure(
                f"kind created the cluster {cluster.name}, but {reason}",
                "The API server of a kind cluster listens on 127.0.0.1 of the engine's machine: run "
                "kubereach there, or set networking.apiServerAddress in --kind-config.",
            )
        return CannotMeasure(
            f"the kind cluster {cluster.name} exists, but {reason}",
            "It may be stopped, or its creation was interrupted: run `kind delete cluster --name "
            f"{cluster.name}`, then kubereach again.",
        )

    def _load_image(self, cluster: Cluster, engine: Engine) -> None:
        """Nodes share no images with the engine, and may not be able to pull. Raises `CannotMeasure` on a full disk."""
        image = self._settings.image
        if not engine.has_image(image):
            return  # the nodes pull it, or the pods say why they cannot
        self._say(f"kind: loading {image} onto the nodes")
        done = cluster.load_image(image, engine)
        if done.ok:
            return
        error = error_of(done, "")
        if "disk is full" in error.message:
            raise error
        self._say(f"kind: loading {image} failed, the nodes will pull it: {error.message}")

    def _balanced(self, cluster: Cluster, engine: Engine, there: bool) -> tuple[str, bool]:
        """Who gives load-balancer addresses, in words, and whether it has to be us."""
        how = balancer.running(engine)
        if how:
            return f"load balancer controller: {balancer.PROVIDER} ({how})", False
        images = (
            cluster.ask("get", "pods", "--all-namespaces", "--output=jsonpath={..image}") if there else None
        )
        other = balancer.others(images.out) if images else ""
        if other:
            return f"load balancer controller: {other}", False
        return f"no load balancer controller: {balancer.PROVIDER} is not running", True


def _inside(node: dict[str, Any]) -> list[str]:
    addresses = node.get("status", {}).get("addresses") or []
    return [str(a["address"]) for a in addresses if a.get("type") == "InternalIP"]
