"""One Service as rules of one node: chains, sets and map elements that belong to it alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubereach.lab.config import LabConfig

Object = dict[str, Any]


@dataclass
class Rules:
    """What a Service needs in the table. Two of them are compared to find what has to change."""

    #: rules by chain
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: definition by set
    sets: dict[str, str] = field(default_factory=dict)
    #: value (or "" for a set's element) by map and key
    elements: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """A ready (or, when there is no other, still serving) endpoint of one Service port."""

    address: str
    port: int
    node: str


def service_rules(
    config: LabConfig, node: str, service: Object, slices: Sequence[Object], load_balancer: Sequence[str] = ()
) -> Rules:
    """The rules for `service` on `node`, given all of its EndpointSlices and its captured load-balancer addresses.

    Source: https://kubernetes.io/docs/reference/networking/virtual-ips/ and KEP-3866.
    """
    rules = Rules()
    spec = service["spec"]
    if spec["type"] == "ExternalName" or spec.get("clusterIP") in (None, "", "None"):
        return rules
    rules.elements["cluster-ips", spec["clusterIP"]] = ""
    for port in spec.get("ports", []):
        endpoints = _endpoints(slices, port.get("name", ""), port["protocol"])
        _ServicePort(config, node, service, port, endpoints, load_balancer).add_to(rules)
    return rules


def _endpoints(slices: Iterable[Object], port_name: str, protocol: str) -> list[Endpoint]:
    """Ready endpoints; if there is none, those that are terminating but still serving (KEP-1669)."""
    ready, terminating = [], []
    for part in slices:
        if part.get("addressType") != "IPv4":
            continue
        for port in part.get("ports") or []:
            if (
                (port.get("name") or "") != port_name
                or port.get("protocol", "TCP") != protocol
                or not port.get("port")
            ):
                continue
            for endpoint in part.get("endpoints") or []:
                conditions = endpoint.get("conditions") or {}
                for address in endpoint["addresses"][:1]:
                    found = Endpoint(address, port["port"], endpoint.get("nodeName") or "")
                    if conditions.get("ready", True):
                        ready.append(found)
                    elif conditions.get("serving") and conditions.get("terminating"):
                        terminating.append(found)
    return sorted(set(ready or terminating), key=lambda e: (e.address, e.port))


class _ServicePort:
    """One port of a Service, on its way to rules."""

    def __init__(
        self,
        config: LabConfig,
        node: str,
        service: Object,
        port: Object,
        endpoints: list[Endpoint],
        load_balancer: Sequence[str],
    ) -> None:
        meta, self.spec = service["metadata"], service["spec"]
        self.config = config
        self.port = port
        self.load_balancer = load_balancer
        self.protocol = port["protocol"].lower()
        self.endpoints = endpoints
        self.local = [e for e in endpoints if e.node == node]
        self.label = f"{meta['namespace']}/{meta['name']}/{self.protocol}/{port.get('name', '')}"
        digest = hashlib.sha256(self.label.encode()).digest()
        self.suffix = f"{base64.b32encode(digest)[:8].decode()}-{self.label}"

    def add_to(self, rules: Rules) -> None:
        cluster, local = f"service-{self.suffix}", f"local-{self.suffix}"
        internal = local if self.spec.get("internalTrafficPolicy") == "Local" else cluster
        external_local = self.spec.get("externalTrafficPolicy") == "Local"
        captured = [*self.spec.get("externalIPs", []), *self.load_balancer]
        node_port = self.port.get("nodePort")
        has_external = bool(captured or node_port)

        address = self.spec["clusterIP"]
        self._address(rules, address, internal, self.local if internal == local else self.endpoints)
        masquerade = (
            f"ip daddr {address} {self.protocol} dport {self.port['port']} "
            f"ip saddr != {self.config.pod_cidr} jump mark-for-masquerade"
        )
        if self.endpoints:
            rules.chains[cluster] = (
                *([masquerade] if internal == cluster else []),
                *self._balance(self.endpoints),
            )
            if internal == local and self.local:
                rules.chains[local] = (masquerade, *self._balance(self.local))
            self._endpoint_chains(rules)
        if has_external:
            reachable = self.local if external_local else self.endpoints
            external = f"external-{self.suffix}"
            if self.endpoints:
                rules.chains[external] = self._external_chain(cluster, external_local)
            for captured_address in captured:
                self._external_address(rules, captured_address, external, reachable)
            if node_port:
                self._node_port(rules, node_port, external, reachable)

    def _address(self, rules: Rules, address: str, chain: str, reachable: list[Endpoint]) -> None:
        key = f"{address} . {self.protocol} . {self.port['port']}"
        if reachable:
            rules.elements["service-ips", key] = f"goto {chain}"
        else:
            rules.elements["no-endpoint-services", key] = self._refusal()

    def _refusal(self) -> str:
        """No endpoint anywhere is refused; none on this node only, under a Local policy, is dropped."""
        return "drop" if self.endpoints else "goto reject-chain"

    def _external_address(self, rules: Rules, address: str, chain: str, reachable: list[Endpoint]) -> None:
        key = f"{address} . {self.protocol} . {self.port['port']}"
        if self.endpoints:
            rules.elements["service-ips", key] = f"goto {chain}"
        if not reachable:
            rules.elements["no-endpoint-services", key] = self._refusal()
        ranges = self.spec.get("loadBalancerSourceRanges")
        if ranges and address in self.load_balancer:
            firewall = f"firewall-{self.suffix}"
            rules.chains[firewall] = (f"ip saddr != {{ {', '.join(ranges)} }} drop",)
            rules.elements["firewall-ips", key] = f"goto {firewall}"

    def _node_port(self, rules: Rules, node_port: int, chain: str, reachable: list[Endpoint]) -> None:
        key = f"{self.protocol} . {node_port}"
        if self.endpoints:
            rules.elements["service-nodeports", key] = f"goto {chain}"
        if not reachable:
            rules.elements["no-endpoint-nodeports", key] = self._refusal()

    def _external_chain(self, cluster: str, local_policy: bool) -> tuple[str, ...]:
        if not local_policy:
            return ("jump mark-for-masquerade", f"goto {cluster}")
        return (
            # Clients inside the cluster are short-cut to all endpoints (KEP-3866, as in the other modes).
            f"ip saddr {self.config.pod_cidr} goto {cluster}",
            "fib saddr type local jump mark-for-masquerade",
            f"fib saddr type local goto {cluster}",
            *(self._balance(self.local) if self.local else ()),
        )

    def _chain_of(self, endpoint: Endpoint) -> str:
        return f"endpoint-{self.suffix}__{endpoint.address}/{endpoint.port}"

    def _balance(self, endpoints: list[Endpoint]) -> tuple[str, ...]:
        sticky: tuple[str, ...] = ()
        if self.spec.get("sessionAffinity") == "ClientIP":
            sticky = tuple(f"ip saddr @{self._affinity_set(e)} goto {self._chain_of(e)}" for e in endpoints)
        choices = ", ".join(f"{i} : goto {self._chain_of(e)}" for i, e in enumerate(endpoints))
        return (*sticky, f"numgen random mod {len(endpoints)} vmap {{ {choices} }}")

    def _affinity_set(self, endpoint: Endpoint) -> str:
        return f"affinity-{self.suffix}__{endpoint.address}/{endpoint.port}"

    def _endpoint_chains(self, rules: Rules) -> None:
        sticky = self.spec.get("sessionAffinity") == "ClientIP"
        for endpoint in self.endpoints:
            lines = [f'ip saddr {endpoint.address} jump mark-for-masquerade comment "hairpin"']
            if sticky:
                seconds = (
                    self.spec.get("sessionAffinityConfig", {})
                    .get("clientIP", {})
                    .get("timeoutSeconds", 10800)
                )
                name = self._affinity_set(endpoint)
                rules.sets[name] = f"type ipv4_addr; flags dynamic,timeout; timeout {seconds}s;"
                lines.append(f"update @{name} {{ ip saddr }}")
            lines.append(f"meta l4proto {self.protocol} dnat to {endpoint.address}:{endpoint.port}")
            rules.chains[self._chain_of(endpoint)] = tuple(lines)
