"""Signs of life of nodes: a Lease each, and the times in their status.

Kubelets renew their Lease every 10 s, a quarter of its duration, and write an unchanged status only every 5 minutes.
Source: https://kubernetes.io/docs/reference/node/node-status/#heartbeats
"""

from __future__ import annotations

import asyncio

from kubereach_lab.registry import Registry
from kubereach_lab.status import Object
from kubereach_lab.times import now, now_micro

NAMESPACE = "kube-node-lease"
_DURATION_SECONDS = 40
_RENEW_SECONDS = 10
_RENEWALS_PER_STATUS = 30


class Heartbeat:
    """The heartbeats of all nodes, since one process is kubelet of them all."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def run(self) -> None:
        """Beat for ever."""
        renewals = 0
        while True:
            for node in self._registry.list("nodes"):
                self._renew(node)
                if renewals and renewals % _RENEWALS_PER_STATUS == 0:
                    self._registry.update(
                        "nodes", None, node["metadata"]["name"], _write_times, subresource="status"
                    )
            renewals += 1
            await asyncio.sleep(_RENEW_SECONDS)

    def _renew(self, node: Object) -> None:
        name = node["metadata"]["name"]
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": _DURATION_SECONDS,
            "renewTime": now_micro(),
        }
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
        if self._registry.find("leases", NAMESPACE, name) is not None:
            self._registry.update("leases", NAMESPACE, name, lambda lease: lease.update(spec=spec))
        else:
            metadata = {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner]}
            self._registry.create("leases", {"metadata": metadata, "spec": spec})


def _write_times(node: Object) -> None:
    for condition in node["status"]["conditions"]:
        condition["lastHeartbeatTime"] = now()
