"""The service proxy of one node: follows Services and EndpointSlices; a change touches only its own Service's rules."""

from __future__ import annotations

import asyncio
import logging

from kubereach.lab.config import LabConfig
from kubereach.lab.network import NetworkError, NodeNetwork
from kubereach.lab.proxy.base import TABLE, base_rules
from kubereach.lab.proxy.conntrack import Backend, Frontend, UdpFlows, udp_frontends
from kubereach.lab.proxy.service import Object, Rules, service_rules
from kubereach.lab.proxy.transactions import transactions
from kubereach.lab.registry import Registry

log = logging.getLogger(__name__)

#: changes that come within this many seconds are programmed in one transaction
_GATHER = 0.005


class ServiceProxy:
    """Keeps one node's nftables as the API says, one transaction for each burst of changes."""

    def __init__(self, config: LabConfig, network: NodeNetwork, registry: Registry) -> None:
        self._config = config
        self._network = network
        self._registry = registry
        self._applied: dict[tuple[str, str], Rules] = {}
        self._flows = UdpFlows(network)
        self._dirty: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> None:
        """Lay down the base rules, then follow the API; returns when what exists now is programmed."""
        await self._network.nft(base_rules(self._config, self._network.address))
        self._registry.subscribe(self._on_change)
        for service in self._registry.list("services"):
            self._dirty.add((service["metadata"]["namespace"], service["metadata"]["name"]))
        await self._sync()

    def _on_change(self, _verb: str, resource: str, new: Object, _old: Object | None) -> None:
        meta = new["metadata"]
        if resource == "services":
            name = meta["name"]
        elif resource == "endpointslices":
            name = meta.get("labels", {}).get("kubernetes.io/service-name", "")
        else:
            return
        self._dirty.add((meta["namespace"], name))
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
        dirty, self._dirty = self._dirty, set()
        fresh: dict[tuple[str, str], Rules] = {}
        frontends: dict[Frontend, frozenset[Backend]] = {}
        for key in dirty:
            fresh[key] = self._desired(*key, frontends)
        changes = [(self._applied.get(key, Rules()), rules) for key, rules in fresh.items()]
        try:
            for script in transactions(TABLE, changes):
                await self._network.nft(script)
        except NetworkError:
            log.exception("%s: rules refused", self._network.name)
            return
        for key, rules in fresh.items():
            if rules.elements or rules.chains:
                self._applied[key] = rules
            else:
                self._applied.pop(key, None)
        await self._flows.end(self._flows.outdated(frontends))

    def _desired(self, namespace: str, name: str, frontends: dict[Frontend, frozenset[Backend]]) -> Rules:
        """A Service's rules; its UDP frontends are added to `frontends`."""
        service = self._registry.find("services", namespace, name)
        if service is None:
            return Rules()
        slices = self._registry.list("endpointslices", namespace, labels={"kubernetes.io/service-name": name})
        ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress", [])
        captured = [i["ip"] for i in ingress if i.get("ip") and i.get("ipMode", "VIP") == "VIP"]
        addresses = [service["spec"].get("clusterIP"), *service["spec"].get("externalIPs", []), *captured]
        frontends |= udp_frontends(service, slices, [a for a in addresses if a not in (None, "", "None")])
        return service_rules(self._config, self._network.name, service, slices, captured)
