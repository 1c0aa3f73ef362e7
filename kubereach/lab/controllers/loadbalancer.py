"""Load balancers: an address for each Service of that type, announced to the outside by the nodes that serve it.

Source: https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Iterable

from kubereach.lab.config import LabConfig
from kubereach.lab.controllers.base import Controller, Key, Object, being_deleted, name_of
from kubereach.lab.network import Outside
from kubereach.lab.registry import Registry

log = logging.getLogger(__name__)
_FINALIZER = "service.kubernetes.io/load-balancer-cleanup"


class LoadBalancerController(Controller):
    """Serves Services of type LoadBalancer that name no class of their own."""

    def __init__(self, config: LabConfig, registry: Registry, outside: Outside) -> None:
        super().__init__(registry)
        self._pending = "lb.pending" in config.faults
        self._pool = [str(a) for a in ipaddress.IPv4Network(config.load_balancer_cidr).hosts()]
        self._next = 0
        self._addresses: dict[Key, str] = {}
        self._nodes = dict(zip(config.node_names, config.node_addresses, strict=True))
        self._outside = outside
        self._routes: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del verb, old
        if resource == "services":
            yield name_of(new)
        elif resource == "endpointslices":
            key = (
                new["metadata"]["namespace"],
                (new["metadata"].get("labels") or {}).get("kubernetes.io/service-name"),
            )
            if key in self._addresses:
                yield key[0], str(key[1])

    def reconcile(self, namespace: str, name: str) -> None:
        service = self.registry.find("services", namespace, name)
        if service is None:
            self._withdraw((namespace, name))
            return
        spec = service["spec"]
        ours = spec["type"] == "LoadBalancer" and not spec.get("loadBalancerClass") and not self._pending
        if being_deleted(service) or not ours:
            self._give_up(service)
            return
        address = self._address(service)
        if address is None:
            message = "no address is left in the lab's pool"
            self.registry.record_event(
                service, "Warning", "SyncLoadBalancerFailed", message, "service-controller"
            )
            return
        self._hold(service, address)
        self._routes.put_nowait((address, self._announcer(service, address)))

    def _address(self, service: Object) -> str | None:
        key = name_of(service)
        if key in self._addresses:
            return self._addresses[key]
        taken = set(self._addresses.values())
        asked = service["spec"].get("loadBalancerIP")
        if asked:
            if asked not in self._pool or asked in taken:
                return None
            self._addresses[key] = asked
            return str(asked)
        for _ in self._pool:
            # walked round, so that an address that was given up is not somebody else's a moment later
            candidate = self._pool[self._next]
            self._next = (self._next + 1) % len(self._pool)
            if candidate not in taken:
                self._addresses[key] = candidate
                return candidate
        return None

    def _hold(self, service: Object, address: str) -> None:
        if _FINALIZER not in (service["metadata"].get("finalizers") or []):
            self.registry.update(
                "services",
                *name_of(service),
                lambda s: s["metadata"].setdefault("finalizers", []).append(_FINALIZER),
            )
        ingress = [{"ip": address, "ipMode": "VIP"}]

        def mutate(obj: Object) -> None:
            obj["status"]["loadBalancer"] = {"ingress": ingress}

        self.registry.update("services", *name_of(service), mutate, subresource="status")

    def _announcer(self, service: Object, address: str) -> str:
        """The address of the node that this load-balancer address is sent to; "" if there is none.

        Addresses are dealt out over the nodes, under a Local policy over those with endpoints.
        """
        nodes = self._candidates(service)
        return nodes[self._pool.index(address) % len(nodes)] if nodes else ""

    def _candidates(self, service: Object) -> list[str]:
        if service["spec"].get("externalTrafficPolicy") != "Local":
            return list(self._nodes.values())
        namespace, name = name_of(service)
        slices = self.registry.list("endpointslices", namespace, labels={"kubernetes.io/service-name": name})
        with_endpoints = {
            endpoint.get("nodeName")
            for part in slices
            for endpoint in part.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready", True)
        }
        return [address for node, address in self._nodes.items() if node in with_endpoints]

    def _withdraw(self, key: Key) -> None:
        address = self._addresses.pop(key, None)
        if address is not None:
            self._routes.put_nowait((address, ""))

    def _give_up(self, service: Object) -> None:
        key = name_of(service)
        self._withdraw(key)
        if (service.get("status") or {}).get("loadBalancer", {}).get("ingress") and not service["spec"].get(
            "loadBalancerClass"
        ):
            self.registry.update(
                "services", *key, lambda s: s["status"].update(loadBalancer={}), subresource="status"
            )
        if _FINALIZER in (service["metadata"].get("finalizers") or []):

            def mutate(obj: Object) -> None:
                obj["metadata"]["finalizers"] = [f for f in obj["metadata"]["finalizers"] if f != _FINALIZER]

            self.registry.update("services", *key, mutate)

    async def announce(self) -> None:
        """Make the routes that reconciling asked for, in order, for ever."""
        while True:
            address, node = await self._routes.get()
            await self._outside.announce(address, node)
