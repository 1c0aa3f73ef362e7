"""Every node has a Lease, which its kubelet renews."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from lab_access import LabAccess

from kubereach_lab import LabConfig
from kubereach_lab.kubelet import heartbeat
from kubereach_lab.kubelet.heartbeat import Heartbeat
from kubereach_lab.registry import Registry
from kubereach_lab.system import create_node


def test_every_node_has_a_lease(lab: LabAccess) -> None:
    nodes = {node["metadata"]["name"]: node for node in lab.get("/api/v1/nodes")["items"]}
    leases = lab.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")["items"]
    assert {lease["metadata"]["name"] for lease in leases} == nodes.keys()
    for lease in leases:
        name = lease["metadata"]["name"]
        (owner,) = lease["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("Node", nodes[name]["metadata"]["uid"])
        assert lease["spec"]["holderIdentity"] == name and lease["spec"]["leaseDurationSeconds"] == 40
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", lease["spec"]["renewTime"])


def test_leases_are_renewed_and_statuses_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "_RENEW_SECONDS", 0.001)
    monkeypatch.setattr(heartbeat, "_RENEWALS_PER_STATUS", 3)
    config = LabConfig(nodes=2)

    async def beat() -> tuple[list[str], list[str]]:
        registry = Registry(config)
        registry.create("namespaces", {"metadata": {"name": heartbeat.NAMESPACE}})
        for number in range(config.nodes):
            create_node(config, registry, number)
        times: list[str] = []
        statuses: list[str] = []
        enough = asyncio.Event()

        def changed(verb: str, resource: str, new: Any, _old: Any) -> None:
            if resource == "leases" and new["metadata"]["name"] == config.node_names[0]:
                times.append(new["spec"]["renewTime"])
            if resource == "nodes" and verb == "MODIFIED":
                statuses.append(new["metadata"]["name"])
            if len(times) >= 10:
                enough.set()

        unsubscribe = registry.subscribe(changed)
        # a status of the same second would be no change
        for name in config.node_names:
            registry.update("nodes", None, name, _age, subresource="status")
        statuses.clear()
        beating = asyncio.create_task(Heartbeat(registry).run())
        await asyncio.wait_for(enough.wait(), 30)
        # a node that is gone gets no new lease
        registry.remove("nodes", None, config.node_names[1])
        registry.remove("leases", heartbeat.NAMESPACE, config.node_names[1])
        times.clear()
        enough.clear()
        await asyncio.wait_for(enough.wait(), 30)
        assert registry.find("leases", heartbeat.NAMESPACE, config.node_names[1]) is None
        beating.cancel()
        unsubscribe()
        return times, statuses

    times, statuses = asyncio.run(beat())
    assert times == sorted(times) and len(set(times)) == len(times)
    assert set(statuses) == set(config.node_names)


def _age(node: Any) -> None:
    for condition in node["status"]["conditions"]:
        condition["lastHeartbeatTime"] = "2020-01-01T00:00:00Z"
