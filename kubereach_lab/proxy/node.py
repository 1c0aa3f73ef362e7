"""The service proxy of one node: follows Services and EndpointSlices; a change touches only its own Service's rules."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from kubereach_lab.config import AddressPlan, LabConfig
from kubereach_lab.endpointslices import MANAGER, service_of, slices_of
from kubereach_lab.network import NetworkError, NodeNetwork
from kubereach_lab.proxy.base import base_rules, table
from kubereach_lab.proxy.claims import Claims, Key
from kubereach_lab.proxy.conntrack import Backend, Frontend, UdpFlows, end_tcp, udp_frontends
from kubereach_lab.proxy.healthcheck import HealthChecks
from kubereach_lab.proxy.keeping import Keeping
from kubereach_lab.proxy.labels import Watched
from kubereach_lab.proxy.modes import mode_of
from kubereach_lab.proxy.service import Object, Rules, cluster_ip, service_rules
from kubereach_lab.proxy.transactions import transactions
from kubereach_lab.registry import Registry

log = logging.getLogger(__name__)

#: changes that come within this many seconds are programmed in one transaction
_GATHER = 0.005
#: and within so many of a proxy that is slow
_SLOW = 8.0

#: who writes EndpointSlices, as a label of them says; the API server's own have none
_CONTROLLERS = ("", "endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")


class _Proxier:
    """One IP family of a node's service proxy: kube-proxy too has a proxier for each (KEP-563)."""

    def __init__(self, config: LabConfig, plan: AddressPlan, network: NodeNetwork) -> None:
        self._config = config
        self._plan = plan
        self._network = network
        self._applied: dict[Key, Rules] = {}
        self._claims = Claims()
        self._flows = UdpFlows(network, plan, config.minor)
        #: the UDP frontends of each Service that has any
        self._udp: dict[Key, frozenset[Frontend]] = {}
        self._mode = mode_of(config.proxy_mode, plan, plan.node_address(network.number))
        self._keeping = Keeping(config.faults, plan, network.number == config.nodes - 1)

    async def start(self) -> None:
        """Lay down the base rules."""
        address = self._plan.node_address(self._network.number)
        await self._network.nft(base_rules(self._config, self._plan, address))

    async def sync(self, found: Mapping[Key, tuple[Object | None, list[Object]]]) -> set[Key]:
        """Program what these Services are now; those that are None are gone. Raises NetworkError.

        Returns the Services that have to be looked at once more: what they wait for has become free.
        """
        fresh: dict[Key, Rules] = {}
        udp: dict[Key, dict[Frontend, frozenset[Backend]]] = {}
        for key, (service, slices) in found.items():
            udp[key] = {}
            fresh[key] = Rules() if service is None else self._desired(service, slices, udp[key])
            fresh[key] = self._keeping.rules(key, service, self._applied.get(key, Rules()), fresh[key])
        if self._config.faults.proxy.twins_confused:
            gone = [
                _twin(self._applied.get(key, Rules())) for key, (service, _) in found.items() if not service
            ]
            fresh |= {
                key: Rules() for key, rules in self._applied.items() if _twin(rules) in filter(None, gone)
            }
        fresh, freed = self._claims.settle(fresh)
        changes = [(self._applied.get(key, Rules()), rules) for key, rules in fresh.items()]
        for script in transactions(table(self._plan), changes):
            await self._network.nft(script)
        for key, rules in fresh.items():
            if rules.elements or rules.chains:
                self._applied[key] = rules
            else:
                self._applied.pop(key, None)
        deleted = [
            one for key, (service, _) in found.items() if not service for one in self._udp.pop(key, ())
        ]
        self._udp |= {key: frozenset(frontends) for key, frontends in udp.items() if frontends}
        if self._mode.binds:
            await self._network.bind(self._plan, self._addresses())
        outdated = self._flows.outdated(self._served(udp), deleted)
        if not self._config.faults.proxy.conntrack_not_flushed:
            await self._flows.end(outdated)
        if self._config.faults.proxy.connections_cut:
            await end_tcp(self._network, self._plan, _emptied(changes))
        if self._config.faults.proxy.connections_cut_by_changes:
            changed = any(old != new for old, new in changes)
            await end_tcp(self._network, self._plan, self._open() if changed else set())
        return freed

    def _open(self) -> set[Frontend]:
        """The TCP frontends of all Services; but HTTP's, which are short anyway."""
        keys = {
            key for rules in self._applied.values() for where, key in rules.elements if where == "service-ips"
        }
        found = {tuple(key.split(" . ")) for key in keys}
        return {
            (address, int(port)) for address, protocol, port in found if protocol == "tcp" and port != "80"
        }

    def _addresses(self) -> set[str]:
        """The addresses that Services are served at, but for the node's own."""
        at = ("service-ips", "no-endpoint-services")
        elements = [element for rules in self._applied.values() for element in rules.elements]
        return {key.partition(" . ")[0] for where, key in elements if where in at}

    def _served(
        self, udp: Mapping[Key, Mapping[Frontend, frozenset[Backend]]]
    ) -> dict[Frontend, frozenset[Backend]]:
        """The UDP frontends of Services but for those at which another Service is served."""
        return {
            (address, port): backends
            for key, frontends in udp.items()
            for (address, port), backends in frontends.items()
            if self._claims.holds(key, ("service-ips", f"{address} . udp . {port}"))
        }

    def _desired(
        self, service: Object, slices: Iterable[Object], frontends: dict[Frontend, frozenset[Backend]]
    ) -> Rules:
        """A Service's rules in this family; its UDP frontends are added to `frontends`."""
        address = cluster_ip(self._plan, service["spec"])
        other = self._plan is not self._config.plans[0]
        if not address or (other and self._config.faults.dualstack.first_family_only):
            return Rules()
        own = [part for part in slices if part.get("addressType") == self._plan.family]
        if self._config.faults.proxy.manual_ignored:
            own = [part for part in own if part["metadata"]["labels"].get(MANAGER, "") in _CONTROLLERS]
        key = service["metadata"]["namespace"], service["metadata"]["name"]
        own, service = self._keeping.slices(key, own), self._keeping.service(key, service)
        ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress", [])
        modes = ("VIP", "Proxy") if self._config.faults.proxy.ip_mode_ignored else ("VIP",)
        captured = self._plan.own(i["ip"] for i in ingress if i.get("ip") and i.get("ipMode", "VIP") in modes)
        external = self._plan.own(service["spec"].get("externalIPs", []))
        frontends |= udp_frontends(service, own, [address, *external, *captured])
        node, zone = self._network.name, self._config.zone(self._network.number)
        return service_rules(self._plan, node, service, own, captured, self._config.faults, zone, self._mode)


def _twin(rules: Rules) -> tuple[object, ...]:
    """What Services of one port that are alike have in common, but for their addresses; most are, at port 80."""
    ports = [key.split(" . ", 1)[1] for where, key in rules.elements if where == "service-ips"]
    endpoints = {name.partition("__")[2] for name in rules.chains if name.startswith("endpoint-")}
    alone = len(ports) == len(rules.elements) - 1 == 1 and ports[0] != "tcp . 80"
    return (ports[0], frozenset(endpoints)) if alone else ()


def _emptied(changes: Iterable[tuple[Rules, Rules]]) -> set[Frontend]:
    """The TCP frontends of Services that have just lost their last endpoint; but HTTP's, which are short anyway."""
    return {
        (address, int(port))
        for old, new in changes
        if old.chains and new.elements and not new.chains
        for where, key in old.elements
        if where == "service-ips"
        for address, protocol, port in [key.split(" . ")]
        if protocol == "tcp" and port != "80"
    }


class ServiceProxy:
    """Keeps one node's nftables as the API says, one transaction for each burst of changes."""

    def __init__(self, config: LabConfig, network: NodeNetwork, registry: Registry) -> None:
        self._network = network
        self._registry = registry
        self._slow = config.faults.proxy.slow
        self._watched = Watched(config.minor, config.faults)
        self._proxiers = [_Proxier(config, plan, network) for plan in config.plans]
        last = network.number == config.nodes - 1
        self._checks = HealthChecks(network, config, self._warn, last_node=last)
        #: in the order in which they changed, which is the same on every node
        self._dirty: dict[Key, None] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> None:
        """Lay down the base rules, then follow the API; returns when what exists now is programmed."""
        for proxier in self._proxiers:
            await proxier.start()
        await self._checks.start()
        self._registry.subscribe(self._on_change)
        for service in self._registry.list("services"):
            self._dirty[service["metadata"]["namespace"], service["metadata"]["name"]] = None
        await self._sync()

    def _on_change(self, _verb: str, resource: str, new: Object, _old: Object | None) -> None:
        meta = new["metadata"]
        if resource == "services":
            name = meta["name"]
        elif resource == "endpointslices":
            name = service_of(new)
        else:
            if resource == "nodes" and meta["name"] == self._network.name:
                self._checks.node_changed(new)
            return
        key = (meta["namespace"], name)
        if self._slow and meta["namespace"] != "kube-system":
            asyncio.get_running_loop().call_later(_SLOW, self._notice, key)
        else:
            self._notice(key)

    def _notice(self, key: Key) -> None:
        self._dirty[key] = None
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Program changes as they come, for ever."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER)
            self._wake.clear()
            await self._sync()
            if not self._dirty:
                self._idle.set()

    async def settled(self) -> None:
        """Wait until every change so far is programmed."""
        await self._idle.wait()

    async def _sync(self) -> None:
        dirty, self._dirty = self._dirty, {}
        found = {key: self._find(*key) for key in dirty}
        try:
            for proxier in self._proxiers:
                for key in await proxier.sync(found):
                    self._notice(key)
        except NetworkError:
            log.exception("%s: rules refused", self._network.name)
        for key, (service, slices) in found.items():
            await self._checks.sync(key, service, slices)

    def _warn(self, service: Object, reason: str, message: str) -> None:
        self._registry.events.record(service, "Warning", reason, message, "kube-proxy")

    def _find(self, namespace: str, name: str) -> tuple[Object | None, list[Object]]:
        """A Service, None if there is none, and its EndpointSlices."""
        service = self._registry.find("services", namespace, name)
        if service is None or not self._watched.service(service):
            return None, []
        return service, self._watched.slices(slices_of(self._registry, namespace, name))
