"""Cluster IPs and node ports: what is free, who has what.

A number asked for is taken if it is free; a fresh one is drawn at random, so that one just given up is not given to
somebody else at once (a stale rule or cached name would then seem to work).
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Sequence
from functools import partial

from kubereach_lab.config import AddressPlan, Network
from kubereach_lab.defaults.families import family_of, set_families
from kubereach_lab.defaults.service_spec import (
    AFFINITY_SECONDS,
    is_headless,
    needs_cluster_ip,
    needs_health_check_port,
    needs_node_port,
)
from kubereach_lab.faults import HEALTHY, Faults
from kubereach_lab.status import Cause, Object, invalid, invalid_value

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressAllocator:
    """Addresses of a service range. Its first address is never given, nor is IPv4's broadcast address."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._size = network.num_addresses + (1 if network.version == 6 else 0)
        self._taken: set[_Address] = set()

    def take(self, address: str) -> str:
        """Takes `address`; what is returned is why it cannot be had, "" if it can."""
        ip = ipaddress.ip_address(address)
        if ip not in self.network:
            return "the provided network does not match the current range"
        if ip == self.network.network_address or (ip.version == 4 and ip == self.network.broadcast_address):
            return f"the provided IP {address} is not in the valid range"
        if ip in self._taken:
            return "provided IP is already allocated"
        self._taken.add(ip)
        return ""

    def take_any(self) -> str | None:
        """A free address, or None when the range is full. The first of the range are left to those who ask by name."""
        size = self._size
        # the lower band, up to 256 addresses, is for static assignment (KEP-3070) and used when the rest is full
        band = min(max(16, size // 16), 256) if size > 32 else 0
        for low, high in ((band + 1, size - 1), (1, band + 1)):
            free = self._free(low, high)
            if free is not None:
                self._taken.add(free)
                return str(free)
        return None

    def _free(self, low: int, high: int) -> _Address | None:
        for _ in range(64):
            if (ip := self.network[random.randrange(low, high)]) not in self._taken:
                return ip
        return next((ip for i in range(low, high) if (ip := self.network[i]) not in self._taken), None)

    def free(self, address: str) -> None:
        self._taken.discard(ipaddress.ip_address(address))


class PortAllocator:
    """Ports of the node-port range, both ends included. One number serves TCP and UDP of one Service."""

    def __init__(self, first: int, last: int, *, keeps: bool = False) -> None:
        """`keeps`: no number is ever free again."""
        self.first, self.last, self._keeps = first, last, keeps
        self._taken: set[int] = set()

    def take(self, port: int, field: str) -> Cause | None:
        """Takes `port`; a `Cause` at `field` says why it cannot be had."""
        if not self.first <= port <= self.last:
            allowed = f"The range of valid ports is {self.first}-{self.last}"
            return invalid_value(field, port, f"provided port is not in the valid range. {allowed}")
        if port in self._taken:
            return invalid_value(field, port, "provided port is already allocated")
        self._taken.add(port)
        return None

    def take_any(self) -> int | None:
        """A free port, or None when the range is full."""
        # the lower band is for static assignment (KEP-3668), as with addresses
        size = self.last - self.first + 1
        band = min(max(16, size // 32), 128) if size > 32 else 0
        for low, high in ((self.first + band, self.last), (self.first, self.first + band - 1)):
            free = [port for port in range(low, high + 1) if port not in self._taken]
            if free:
                port = random.choice(free)
                self._taken.add(port)
                return port
        return None

    def free(self, port: int) -> None:
        if not self._keeps:
            self._taken.discard(port)


class ServiceAllocator:
    """Gives Services their addresses and ports, and takes them back.

    `allocate` fills the numbers into the Service; it either takes all of them or raises and takes none.
    """

    def __init__(
        self, plans: Sequence[AddressPlan], node_ports: tuple[int, int], faults: Faults = HEALTHY
    ) -> None:
        """`plans` are those of the cluster's IP families, the primary one first."""
        self._faults = faults
        self.addresses = {plan.family: AddressAllocator(plan.services) for plan in plans}
        self.ports = PortAllocator(*node_ports, keeps=faults.api.node_ports_not_freed)

    def allocate(self, service: Object, old: Object | None, *, dry_run: bool = False) -> Callable[[], None]:
        """Takes what `service` needs beyond what `old` has. Raises `StatusError` 422.

        Returns what must be called once the Service is stored: it frees what `old` had and `service` no longer has.
        With `dry_run` nothing stays taken.
        """
        taken: list[Callable[[], None]] = []
        causes: list[Cause] = []
        if self._faults.api.affinity_default_wrong:
            _shorten_default(service["spec"])
        if needs_cluster_ip(service["spec"]):
            causes = set_families(service["spec"], old["spec"] if old else None, list(self.addresses))
            if self._faults.dualstack.order_ignored:
                service["spec"].get("ipFamilies", []).sort()
        if not causes:
            causes = self._take(service["spec"], old["spec"] if old else {}, taken)
        if causes or dry_run:
            for undo in reversed(taken):
                undo()
        if causes:
            raise invalid("Service", service["metadata"]["name"], causes)
        before = _numbers(old["spec"]) if old else (set(), set())
        after = _numbers(service["spec"])
        gone = (before[0] - after[0], before[1] - after[1])

        def commit() -> None:
            for address in gone[0]:
                self._free(address)
            for port in gone[1]:
                self.ports.free(port)

        return commit

    def release(self, service: Object) -> None:
        """Frees everything that a removed Service had."""
        addresses, ports = _numbers(service["spec"])
        for address in addresses:
            self._free(address)
        for port in ports:
            self.ports.free(port)

    def _free(self, address: str) -> None:
        if allocator := self.addresses.get(family_of(address)):
            allocator.free(address)

    def _take(self, spec: Object, old: Object, taken: list[Callable[[], None]]) -> list[Cause]:
        if needs_cluster_ip(spec) and not is_headless(spec):
            requested = [*(spec.get("clusterIPs") or []), "", ""]
            given: list[str] = []
            for wanted, family in zip(requested, spec["ipFamilies"], strict=False):
                allocator = self.addresses[family]
                address = wanted
                if not wanted:
                    fresh = allocator.take_any()
                    if fresh is None:
                        text = "failed to allocate IP: range is full"
                        return [invalid_value("spec.clusterIPs", [""], text)]
                    address = fresh
                elif wanted in (old.get("clusterIPs") or ()):
                    given.append(wanted)
                    continue
                elif problem := allocator.take(wanted):
                    text = f"failed to allocate IP {wanted}: {problem}"
                    return [invalid_value("spec.clusterIPs", spec["clusterIPs"], text)]
                taken.append(partial(allocator.free, address))
                given.append(address)
            spec["clusterIP"], spec["clusterIPs"] = given[0], given
        return self._take_ports(spec, old, taken)

    def _take_ports(self, spec: Object, old: Object, taken: list[Callable[[], None]]) -> list[Cause]:
        if spec.get("type") not in ("NodePort", "LoadBalancer"):
            return []
        mine = _numbers(old)[1]
        causes = self._take_node_ports(spec, set(mine), taken)
        # last, so that a fresh one is none of those that were asked for
        if not causes and needs_health_check_port(spec):
            wanted = spec.get("healthCheckNodePort") or 0
            port, cause = self._take_port(wanted, mine, "spec.healthCheckNodePort", taken)
            if cause:
                return [cause]
            spec["healthCheckNodePort"] = port
        return causes

    def _take_node_ports(self, spec: Object, mine: set[int], taken: list[Callable[[], None]]) -> list[Cause]:
        # Ports of one number and different protocols share a node port, asked for or not.
        by_number: dict[int, tuple[set[str], int]] = {}
        entries = spec.get("ports") or []
        for i, entry in sorted(enumerate(entries), key=lambda item: not item[1].get("nodePort")):
            wanted = entry.get("nodePort") or 0
            if not wanted and not self._gets_node_ports(spec):
                continue
            protocols, shared = by_number.get(entry["port"], (set(), 0))
            if self._faults.api.node_ports_shared and by_number:
                protocols, shared = list(by_number.values())[-1]
            if not wanted and shared and entry["protocol"] not in protocols:
                entry["nodePort"] = shared
            else:
                port, cause = self._take_port(wanted, mine, f"spec.ports[{i}].nodePort", taken)
                if cause:
                    return [cause]
                entry["nodePort"] = port
                mine.add(port)
            by_number[entry["port"]] = (protocols | {entry["protocol"]}, entry["nodePort"])
        return []

    def _gets_node_ports(self, spec: Object) -> bool:
        balanced = spec.get("type") == "LoadBalancer"
        if balanced and self._faults.lb.no_node_port:
            return False
        return needs_node_port(spec) or (balanced and self._faults.api.node_ports_forced)

    def _take_port(
        self, wanted: int, mine: set[int], field: str, taken: list[Callable[[], None]]
    ) -> tuple[int, Cause | None]:
        if wanted and wanted in mine:
            return wanted, None
        if wanted:
            if cause := self.ports.take(wanted, field):
                return 0, cause
            taken.append(partial(self.ports.free, wanted))
            return wanted, None
        fresh = self.ports.take_any()
        if fresh is None:
            return 0, invalid_value(field, 0, "failed to allocate a nodePort: range is full")
        taken.append(partial(self.ports.free, fresh))
        return fresh, None


def _shorten_default(spec: Object) -> None:
    """api.affinity-default-wrong: the default time-out becomes one hour."""
    client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    if client_ip.get("timeoutSeconds") == AFFINITY_SECONDS:
        client_ip["timeoutSeconds"] = 3600


def _numbers(spec: Object) -> tuple[set[str], set[int]]:
    """The addresses and node ports that a Service holds."""
    addresses = {ip for ip in spec.get("clusterIPs") or () if ip != "None"}
    ports = {entry["nodePort"] for entry in spec.get("ports") or () if entry.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        ports.add(spec["healthCheckNodePort"])
    return addresses, ports
