"""The kubelet of one node: a worker for each pod bound to it."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from kubereach_lab.config import LabConfig
from kubereach_lab.kubelet.pod import PodWorker
from kubereach_lab.kubelet.processes import Processes
from kubereach_lab.kubelet.status import Object
from kubereach_lab.network import NodeNetwork
from kubereach_lab.registry import Registry


class Kubelet:
    """Follows the pods of its node."""

    def __init__(
        self,
        config: LabConfig,
        network: NodeNetwork,
        registry: Registry,
        processes: Processes,
        feed_dns: Callable[[], Awaitable[socket.socket]],
        folder: Path,
        ca: str,
        token: str,
    ) -> None:
        self.config = config
        self.network = network
        self.registry = registry
        self.processes = processes
        self.feed_dns = feed_dns
        self.pods_folder = folder
        self.ca = ca
        self.token = token
        self.workers: dict[str, PodWorker] = {}
        registry.subscribe(self._on_change)

    @property
    def name(self) -> str:
        return self.network.name

    def _on_change(self, verb: str, resource: str, pod: Object, _old: Object | None) -> None:
        if resource != "pods" or pod["spec"].get("nodeName") != self.name:
            return
        uid = pod["metadata"]["uid"]
        worker = self.workers.get(uid)
        if verb == "DELETED":
            if worker is not None:
                worker.gone()
        elif worker is not None:
            worker.changed(pod)
        elif pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            self.workers[uid] = PodWorker(self, pod)
            if "deletionTimestamp" in pod["metadata"]:
                self.workers[uid].changed(pod)

    def forget(self, worker: PodWorker) -> None:
        """A worker has ended."""
        self.workers.pop(worker.uid, None)
