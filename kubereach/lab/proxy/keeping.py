"""What a service proxy with one of these faults does not let go of, or does not take in again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kubereach.lab.proxy.service import Rules

Object = dict[str, Any]
#: (namespace, name) of a Service
Key = tuple[str, str]


class Keeping:
    """One proxier's memory of Services as they were; without a fault of its own it remembers nothing."""

    def __init__(self, faults: Collection[str], last_node: bool) -> None:
        self._faults = faults
        self._stuck = last_node and "proxy.one-node-stuck" in faults
        #: by Service: its ready endpoints by address, each with the slice that it was in
        self._were: dict[Key, dict[str, tuple[Object, Object]]] = {}
        self._gone: dict[Key, tuple[Object, Object]] = {}
        self._ports: dict[Key, object] = {}
        self._deleted: set[Key] = set()

    def slices(self, key: Key, slices: list[Object]) -> list[Object]:
        """proxy.stale-endpoint: one endpoint that has gone is served on, as long as there are others."""
        if "proxy.stale-endpoint" not in self._faults:
            return slices
        now = {
            endpoint["addresses"][0]: (part, endpoint)
            for part in slices
            for endpoint in part.get("endpoints") or []
            if endpoint.get("conditions", {}).get("ready", True)
        }
        for address, was in self._were.get(key, {}).items():
            if address not in now:
                self._gone[key] = was
        self._were[key] = now or self._were.get(key, {})
        part, endpoint = self._gone.get(key, ({}, {}))
        if not now or not endpoint or endpoint["addresses"][0] in now:
            return slices
        return [*slices, {**part, "endpoints": [endpoint]}]

    def rules(self, key: Key, service: Object | None, old: Rules, new: Rules) -> Rules:
        """The rules that are programmed in place of `new`, where `old` ones were."""
        if service is None:
            self._deleted.add(key)
            return new
        if "proxy.recreated-ignored" in self._faults and key in self._deleted:
            return Rules()
        if "proxy.cluster-ip-kept" in self._faults and service["spec"]["type"] == "ExternalName":
            return old
        if self._stuck and self._lost_something(key, service, old, new):
            return old
        if "proxy.ports-kept" in self._faults:
            return _with_ports(old, new)
        return new

    def _lost_something(self, key: Key, service: Object, old: Rules, new: Rules) -> bool:
        """Whether an endpoint has left the Service, or the Service itself was changed."""
        spec = {k: v for k, v in service["spec"].items() if k != "healthCheckNodePort"}
        changed = self._ports.setdefault(key, spec) != spec
        return changed or any(name.startswith("endpoint-") and name not in new.chains for name in old.chains)


def _with_ports(old: Rules, new: Rules) -> Rules:
    """proxy.ports-kept: a port that a Service no longer has is served on at its cluster IP."""
    addresses = {key for where, key in new.elements if where == "cluster-ips"}
    known = {key for _, key in new.elements}
    kept = {
        (where, key): verdict
        for (where, key), verdict in old.elements.items()
        if where == "service-ips" and key not in known and key.split(" . ")[0] in addresses
    }
    if not kept:
        return new
    chains = {**old.chains, **new.chains}
    return Rules(chains, {**old.sets, **new.sets}, {**kept, **new.elements})
