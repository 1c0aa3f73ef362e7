"""What a service proxy with one of these faults does not let go of, or does not take in again."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from kubereach_lab.config import AddressPlan
from kubereach_lab.faults import Faults
from kubereach_lab.proxy.service import Rules

Object = dict[str, Any]
#: (namespace, name) of a Service
Key = tuple[str, str]


class Keeping:
    """One proxier's memory of Services as they were; without a fault of its own it remembers nothing."""

    def __init__(self, faults: Faults, plan: AddressPlan, last_node: bool) -> None:
        self._faults = faults
        self._plan = plan
        self._stuck = last_node and faults.proxy.one_node_stuck
        #: by Service: its ready endpoints by address, each with the slice that it was in
        self._were: dict[Key, dict[str, tuple[Object, Object]]] = {}
        self._gone: dict[Key, tuple[Object, Object]] = {}
        self._ports: dict[Key, object] = {}
        self._deleted: set[Key] = set()
        #: what was given up by whomever and is served on
        self._kept: set[tuple[str, str]] = set()
        self._affinity: dict[Key, str] = {}

    def slices(self, key: Key, slices: list[Object]) -> list[Object]:
        """proxy.stale-endpoint: one endpoint that has gone is served on, as long as there are others."""
        if not self._faults.proxy.stale_endpoint:
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
        if self._faults.proxy.node_port_kept or self._faults.lb.address_kept:
            return self._with_given_up(old, new)
        if service is None:
            self._deleted.add(key)
            self._ports.pop(key, None)
            return new
        if self._faults.proxy.recreated_ignored and key in self._deleted:
            return Rules()
        if self._faults.proxy.cluster_ip_kept and service["spec"]["type"] == "ExternalName":
            return old
        if self._stuck and self._lost_something(key, service, old, new):
            return old
        if self._faults.proxy.ports_kept:
            return _with_ports(old, new)
        if self._faults.proxy.affinity_to_dead_endpoint:
            return _with_dead_endpoints(old, new)
        return new

    def service(self, key: Key, service: Object) -> Object:
        """proxy.affinity-not-switched: a Service keeps the affinity that it had at first."""
        if not self._faults.proxy.affinity_not_switched:
            return service
        spec = service["spec"]
        first = self._affinity.setdefault(key, spec.get("sessionAffinity", "None"))
        return {**service, "spec": {**spec, "sessionAffinity": first}}

    def _with_given_up(self, old: Rules, new: Rules) -> Rules:
        """proxy.node-port-kept, lb.address-kept: what is given up is served on, unless somebody else gets it."""
        kept = {}
        for (where, key), verdict in old.elements.items():
            kept_in = where if where.startswith("kept-") else self._kept_in(where, key)
            if not kept_in or (where, key) in new.elements:
                continue
            if where == kept_in or (kept_in, key) not in self._kept:
                kept[kept_in, key] = verdict
        self._kept |= kept.keys()
        if not kept:
            return new
        chains, sets = {**old.chains, **new.chains}, {**old.sets, **new.sets}
        return Rules(chains, sets, {**kept, **new.elements})

    def _kept_in(self, where: str, key: str) -> str:
        """The map that keeps an element, "" if it is let go."""
        if where == "service-nodeports" and self._faults.proxy.node_port_kept:
            return "kept-nodeports"
        address = key.partition(" . ")[0]
        if where == "service-ips" and self._faults.lb.address_kept:
            return "kept-ips" if ip_address(address) in self._plan.load_balancers else ""
        return ""

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


def _with_dead_endpoints(old: Rules, new: Rules) -> Rules:
    """proxy.affinity-to-dead-endpoint: who went to an endpoint that is gone goes there again."""
    chains, gone = dict(new.chains), set()
    for name, lines in new.chains.items():
        sticky = [line for line in old.chains.get(name, ()) if " @affinity-" in line and " goto " in line]
        dead = [line for line in sticky if line.rpartition("goto ")[2] not in new.chains]
        chains[name] = (*dead, *lines)
        gone |= {line.rpartition("goto ")[2] for line in dead}
    if not gone:
        return new
    chains |= {name: old.chains[name] for name in gone}
    return Rules(chains, {**old.sets, **new.sets}, new.elements)
