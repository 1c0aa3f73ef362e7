"""Cluster IPs and node ports: what is free, who has what.

A number asked for is taken if it is free; a fresh one is drawn at random, so that one just given up is not given to
somebody else at once (a stale rule or cached name would then seem to work).
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from functools import partial

from kubereach.lab.defaults.services import (
    is_headless,
    needs_cluster_ip,
    needs_health_check_port,
    needs_node_port,
)
from kubereach.lab.status import Cause, Object, invalid, invalid_value, unsupported_value


class AddressAllocator:
    """Addresses of the service range. The network and broadcast addresses are never given."""

    def __init__(self, cidr: str) -> None:
        self.network = ipaddress.IPv4Network(cidr)
        self._taken: set[ipaddress.IPv4Address] = set()

    def take(self, address: str) -> Cause | None:
        """Takes `address`; a `Cause` says why it cannot be had."""
        ip = ipaddress.IPv4Address(address)
        first, last = self.network.network_address, self.network.broadcast_address
        problem = ""
        if ip not in self.network:
            problem = "the provided network does not match the current range"
        elif ip in (first, last):
            problem = f"the provided IP {address} is not in the valid range"
        elif ip in self._taken:
            problem = "provided IP is already allocated"
        if problem:
            return invalid_value("spec.clusterIPs", [address], f"failed to allocate IP {address}: {problem}")
        self._taken.add(ip)
        return None

    def take_any(self) -> str | None:
        """A free address, or None when the range is full. The first of the range are left to those who ask by name."""
        size = self.network.num_addresses
        # the lower band, up to 256 addresses, is for static assignment (KEP-3070) and used when the rest is full
        band = min(max(16, size // 16), 256) if size > 32 else 0
        for low, high in ((band + 1, size - 1), (1, band + 1)):
            free = self._free(low, high)
            if free is not None:
                self._taken.add(free)
                return str(free)
        return None

    def _free(self, low: int, high: int) -> ipaddress.IPv4Address | None:
        for _ in range(64):
            if (ip := self.network[random.randrange(low, high)]) not in self._taken:
                return ip
        return next((ip for i in range(low, high) if (ip := self.network[i]) not in self._taken), None)

    def free(self, address: str) -> None:
        self._taken.discard(ipaddress.IPv4Address(address))


class PortAllocator:
    """Ports of the node-port range, both ends included. One number serves TCP and UDP of one Service."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
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
            if high < low:
                continue
            for port in random.sample(range(low, high + 1), high - low + 1):
                if port not in self._taken:
                    self._taken.add(port)
                    return port
        return None

    def free(self, port: int) -> None:
        self._taken.discard(port)


class ServiceAllocator:
    """Gives Services their addresses and ports, and takes them back.

    `allocate` fills the numbers into the Service; it either takes all of them or raises and takes none.
    """

    def __init__(self, service_cidr: str, node_ports: tuple[int, int]) -> None:
        self.addresses = AddressAllocator(service_cidr)
        self.ports = PortAllocator(*node_ports)

    def allocate(self, service: Object, old: Object | None, *, dry_run: bool = False) -> Callable[[], None]:
        """Takes what `service` needs beyond what `old` has. Raises `StatusError` 422.

        Returns what must be called once the Service is stored: it frees what `old` had and `service` no longer has.
        With `dry_run` nothing stays taken.
        """
        taken: list[Callable[[], None]] = []
        causes = self._families(service["spec"])
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
                self.addresses.free(address)
            for port in gone[1]:
                self.ports.free(port)

        return commit

    def release(self, service: Object) -> None:
        """Frees everything that a removed Service had."""
        addresses, ports = _numbers(service["spec"])
        for address in addresses:
            self.addresses.free(address)
        for port in ports:
            self.ports.free(port)

    def _families(self, spec: Object) -> list[Cause]:
        # The range is IPv4 alone. A headless Service without a selector may say both, since whoever writes its
        # endpoints decides (KEP-563).
        if not needs_cluster_ip(spec):
            return []
        free_choice = is_headless(spec) and not spec.get("selector")
        policy = spec.setdefault("ipFamilyPolicy", "RequireDualStack" if free_choice else "SingleStack")
        known = ("SingleStack", "PreferDualStack", "RequireDualStack")
        if policy not in known:
            return [unsupported_value("spec.ipFamilyPolicy", policy, known, ordered=True)]
        if not free_choice:
            if policy == "RequireDualStack":
                text = "this cluster is not configured for dual-stack services"
                return [invalid_value("spec.ipFamilyPolicy", policy, text)]
            for i, family in enumerate(spec.get("ipFamilies") or ()):
                if family != "IPv4":
                    return [invalid_value(f"spec.ipFamilies[{i}]", family, "not configured on this cluster")]
        families = spec.setdefault("ipFamilies", ["IPv4"])
        if free_choice and policy != "SingleStack" and len(families) == 1:
            families.append("IPv6" if families[0] == "IPv4" else "IPv4")
        return []

    def _take(self, spec: Object, old: Object, taken: list[Callable[[], None]]) -> list[Cause]:
        if needs_cluster_ip(spec) and not is_headless(spec):
            wanted = spec.get("clusterIP")
            if not wanted:
                address = self.addresses.take_any()
                if address is None:
                    text = "failed to allocate IP: range is full"
                    return [invalid_value("spec.clusterIPs", [""], text)]
                spec["clusterIP"], spec["clusterIPs"] = address, [address]
                taken.append(partial(self.addresses.free, address))
            elif wanted != old.get("clusterIP"):
                if cause := self.addresses.take(wanted):
                    return [cause]
                taken.append(partial(self.addresses.free, wanted))
        return self._take_ports(spec, old, taken)

    def _take_ports(self, spec: Object, old: Object, taken: list[Callable[[], None]]) -> list[Cause]:
        mine = _numbers(old)[1]
        if needs_health_check_port(spec):
            wanted = spec.get("healthCheckNodePort") or 0
            port, cause = self._take_port(wanted, mine, "spec.healthCheckNodePort", taken)
            if cause:
                return [cause]
            spec["healthCheckNodePort"] = port
        if spec.get("type") not in ("NodePort", "LoadBalancer"):
            return []
        # Ports of one number and different protocols share a node port, asked for or not.
        by_number: dict[int, tuple[set[str], int]] = {}
        entries = spec.get("ports") or []
        for i, entry in sorted(enumerate(entries), key=lambda item: not item[1].get("nodePort")):
            wanted = entry.get("nodePort") or 0
            if not wanted and not needs_node_port(spec):
                continue
            protocols, shared = by_number.get(entry["port"], (set(), 0))
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


def _numbers(spec: Object) -> tuple[set[str], set[int]]:
    """The addresses and node ports that a Service holds."""
    addresses = {ip for ip in spec.get("clusterIPs") or () if ip != "None"}
    ports = {entry["nodePort"] for entry in spec.get("ports") or () if entry.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        ports.add(spec["healthCheckNodePort"])
    return addresses, ports
