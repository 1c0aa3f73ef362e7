"""One Service as rules of one node: chains, sets and map elements that belong to it alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import Any

from kubereach_lab.config import AddressPlan
from kubereach_lab.faults import HEALTHY, Faults
from kubereach_lab.proxy.affinity import Affinity
from kubereach_lab.proxy.modes import Mode, mode_of
from kubereach_lab.proxy.topology import Endpoint, near

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


def service_rules(
    plan: AddressPlan,
    node: str,
    service: Object,
    slices: Sequence[Object],
    load_balancer: Sequence[str] = (),
    faults: Faults = HEALTHY,
    zone: str = "",
    mode: Mode | None = None,
) -> Rules:
    """The rules of one family for `service` on `node`, which is in `zone`.

    `slices` are all of its EndpointSlices of the family, `load_balancer` its captured load-balancer addresses of it.
    A Service without a cluster IP of the family has no rules in it, whatever else it has.
    Source: https://kubernetes.io/docs/reference/networking/virtual-ips/ and KEP-3866.
    """
    rules = Rules()
    spec = service["spec"]
    address = cluster_ip(plan, spec)
    if not address:
        return rules
    rules.elements["cluster-ips", address] = ""
    ports = spec.get("ports", [])
    for port in ports[:1] if faults.proxy.first_port_only else ports:
        if faults.proxy.protocol_mixed_up and _is_udp_twin(port, ports):
            continue
        if faults.proxy.sctp_ignored and port["protocol"] == "SCTP":
            continue
        if faults.endpoints.first_slice_only:
            slices = slices[:1]
        endpoints = _endpoints(slices, port.get("name", ""), port["protocol"], faults)
        if faults.proxy.target_port_ignored:
            endpoints = [replace(endpoint, port=port["port"]) for endpoint in endpoints]
        _ServicePort(
            plan,
            (node, zone),
            service,
            port,
            endpoints,
            load_balancer,
            faults,
            mode or mode_of("nftables", plan),
        ).add_to(rules)
    return rules


def _is_udp_twin(port: Object, ports: Sequence[Object]) -> bool:
    """Whether a UDP port comes after a TCP port of the same number."""
    before = ports[: ports.index(port)]
    return port["protocol"] == "UDP" and any(other["port"] == port["port"] for other in before)


def cluster_ip(plan: AddressPlan, spec: Object) -> str:
    """The cluster IP of a family that a Service with this spec has; "" if there is none."""
    if spec["type"] == "ExternalName" or spec.get("clusterIP") in (None, "", "None"):
        return ""
    return next(iter(plan.own(spec.get("clusterIPs") or [spec["clusterIP"]])), "")


def _endpoints(
    slices: Iterable[Object], port_name: str, protocol: str, faults: Faults = HEALTHY
) -> list[Endpoint]:
    """Ready endpoints; if there is none, those that are terminating but still serving (KEP-1669)."""
    ready, terminating = [], []
    for part in slices:
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
                    name, hints = endpoint.get("nodeName") or "", endpoint.get("hints") or {}
                    meant = [
                        frozenset(h["name"] for h in hints.get(k) or ()) for k in ("forNodes", "forZones")
                    ]
                    found = Endpoint(address, port["port"], name, *meant)
                    if conditions.get("ready", True) or faults.proxy.not_ready_included:
                        ready.append(found)
                    elif conditions.get("serving") and conditions.get("terminating"):
                        terminating.append(found)
    # hints of endpoints that are on their way out count for nothing
    found_ = set(ready) or {
        replace(endpoint, nodes=frozenset(), zones=frozenset()) for endpoint in terminating
    }
    return sorted(found_, key=lambda e: (e.address, e.port))


class _ServicePort:
    """One port of a Service, on its way to rules."""

    def __init__(
        self,
        plan: AddressPlan,
        place: tuple[str, str],
        service: Object,
        port: Object,
        endpoints: list[Endpoint],
        load_balancer: Sequence[str],
        faults: Faults,
        mode: Mode,
    ) -> None:
        meta, self.spec = service["metadata"], service["spec"]
        self.plan = plan
        self.ip = plan.nft
        self.port = port
        self.load_balancer = load_balancer
        self.faults = faults
        self.mode = mode
        self.protocol = port["protocol"].lower()
        self.endpoints = near(endpoints, *place, faults)
        self.affinity = Affinity(plan, self.spec, len(endpoints), faults, mode.lingers)
        self.local = [e for e in endpoints if e.node == place[0]]
        #: what any policy leads to: what is local need not be what is near
        self.used = sorted({*self.endpoints, *self.local}, key=lambda e: (e.address, e.port))
        self.label = f"{meta['namespace']}/{meta['name']}/{self.protocol}/{port.get('name', '')}"
        digest = hashlib.sha256(self.label.encode()).digest()
        self.suffix = f"{base64.b32encode(digest)[:8].decode()}-{self.label}"

    def add_to(self, rules: Rules) -> None:
        cluster, local = f"service-{self.suffix}", f"local-{self.suffix}"
        internal = local if self._local_policy("internal") else cluster
        external_local = self._local_policy("external")
        external = [] if self.faults.proxy.external_ips_ignored else self.spec.get("externalIPs", [])
        captured = [*self.plan.own(external), *self.load_balancer]
        if self.faults.lb.udp_ignored and self.protocol == "udp":
            captured = self.plan.own(external)
        node_port = self.port.get("nodePort")
        has_external = bool(captured or node_port)

        address = cluster_ip(self.plan, self.spec)
        self._address(rules, address, internal, self.local if internal == local else self.endpoints)
        masquerade = (
            f"{self.ip} daddr {address} {self.protocol} dport {self.port['port']} "
            f"{self._masqueraded()}jump mark-for-masquerade"
        )
        self._astray(rules, address, cluster)
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

    def _local_policy(self, which: str) -> bool:
        ignored = {
            "internal": self.faults.proxy.internal_local_ignored,
            "external": self.faults.proxy.external_local_ignored,
        }
        return self.spec.get(f"{which}TrafficPolicy") == "Local" and not ignored[which]

    def _masqueraded(self) -> str:
        """The match of clients whose address is not kept at the cluster IP: those that are no pods."""
        return "" if self.faults.proxy.masquerade_all else f"{self.ip} saddr != {self.plan.pods} "

    def _astray(self, rules: Rules, address: str, chain: str) -> None:
        """What faults open at the cluster IP besides its ports."""
        anywhere = self.endpoints and self.protocol == "tcp" and not self._local_policy("internal")
        if self.faults.proxy.undeclared_ports and anywhere:
            rules.elements.setdefault(("any-port-ips", address), f"goto {chain}")
        if self.faults.proxy.same_port and self.endpoints and not self._local_policy("internal"):
            same = f"same-port-{self.suffix}"
            rules.chains[same] = (f"dnat to {self.endpoints[0].address}",)
            rules.elements.setdefault(("same-port-ips", address), f"goto {same}")
        node_port = self.port.get("nodePort")
        if self.faults.proxy.node_port_on_cluster_ip and self.endpoints and node_port:
            rules.elements["service-ips", f"{address} . {self.protocol} . {node_port}"] = f"goto {chain}"

    def _address(self, rules: Rules, address: str, chain: str, reachable: list[Endpoint]) -> None:
        key = f"{address} . {self.protocol} . {self.port['port']}"
        if reachable:
            rules.elements["service-ips", key] = f"goto {chain}"
        else:
            rules.elements["no-endpoint-services", key] = self._refusal()

    def _refusal(self) -> str:
        """No endpoint anywhere is refused; none on this node only, under a Local policy, as the mode does it."""
        return self.mode.none_local if self.endpoints else "goto reject-chain"

    def _external_address(self, rules: Rules, address: str, chain: str, reachable: list[Endpoint]) -> None:
        # one address may be written in several ways, by several Services
        key = f"{ip_address(address)} . {self.protocol} . {self.port['port']}"
        if self.endpoints:
            rules.elements["service-ips", key] = f"goto {chain}"
        if not reachable:
            rules.elements["no-endpoint-services", key] = self._refusal()
        # Ranges of the other family say nothing of this one: without any of its own it stays open.
        ranges = self.plan.own(cidr.strip() for cidr in self.spec.get("loadBalancerSourceRanges") or [])
        if self.faults.proxy.source_ranges_ignored or self.faults.lb.late_and_open:
            ranges = []
        if any(ip_address(self.mode.own) in ip_network(cidr) for cidr in ranges if self.mode.own):
            # the node's own packets to an address of its own come from that address (kubernetes #119656)
            ranges.append(address)
        if ranges and address in self.load_balancer:
            firewall = f"firewall-{self.suffix}"
            rules.chains[firewall] = (f"{self.ip} saddr != {{ {', '.join(ranges)} }} drop",)
            rules.elements["firewall-ips", key] = f"goto {firewall}"

    def _node_port(self, rules: Rules, node_port: int, chain: str, reachable: list[Endpoint]) -> None:
        key = f"{self.protocol} . {node_port}"
        if self.faults.proxy.node_port_local_only and not self.local:
            return
        if self.endpoints:
            rules.elements["service-nodeports", key] = f"goto {chain}"
        if not reachable:
            rules.elements["no-endpoint-nodeports", key] = self._refusal()

    def _external_chain(self, cluster: str, local_policy: bool) -> tuple[str, ...]:
        if not local_policy:
            return ("jump mark-for-masquerade", f"goto {cluster}")
        return (
            # Clients inside the cluster are short-cut to all endpoints (KEP-3866, as in the other modes).
            f"{self.ip} saddr {self.plan.pods} goto {cluster}",
            "fib saddr type local jump mark-for-masquerade",
            f"fib saddr type local goto {cluster}",
            *(self._balance(self.local) if self.local else ()),
        )

    def _chain_of(self, endpoint: Endpoint) -> str:
        return f"endpoint-{self._name_of(endpoint)}"

    def _name_of(self, endpoint: Endpoint) -> str:
        # Colons have no place in the name of a chain.
        return f"{self.suffix}__{endpoint.address.replace(':', '.')}/{endpoint.port}"

    def _balance(self, endpoints: list[Endpoint]) -> tuple[str, ...]:
        if self.faults.proxy.first_endpoint_only:
            endpoints = endpoints[:1]
        if self.faults.proxy.unfair:
            endpoints = [*endpoints, *[endpoints[0]] * len(endpoints)]
        sticky: tuple[str, ...] = ()
        if self.affinity.wanted:
            sticky = tuple(
                f"{self.affinity.lookup(self._name_of(e))} goto {self._chain_of(e)}" for e in endpoints
            )
        choices = ", ".join(f"{i} : goto {self._chain_of(e)}" for i, e in enumerate(endpoints))
        return (*sticky, f"numgen {self.mode.choice} mod {len(endpoints)} vmap {{ {choices} }}")

    def _endpoint_chains(self, rules: Rules) -> None:
        for endpoint in self.used:
            hairpin = f'{self.ip} saddr {endpoint.address} jump mark-for-masquerade comment "hairpin"'
            lines = [] if self.faults.proxy.no_hairpin else [hairpin]
            if self.affinity.wanted:
                name, definition = self.affinity.definition(self._name_of(endpoint))
                rules.sets[name] = definition
                lines.append(self.affinity.remember(self._name_of(endpoint)))
            address = endpoint.address if self.plan.version == 4 else f"[{endpoint.address}]"
            lines.append(f"meta l4proto {self.protocol} dnat to {address}:{endpoint.port}")
            rules.chains[self._chain_of(endpoint)] = tuple(lines)
