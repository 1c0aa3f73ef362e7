"""Load balancers: an address for each Service of that type, announced to the outside by the nodes that serve it.

Source: https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from kubereach_lab.config import AddressPlan, LabConfig
from kubereach_lab.controllers.base import Controller
from kubereach_lab.controllers.meta import Key, Object, being_deleted, name_of
from kubereach_lab.endpointslices import service_of, slices_of
from kubereach_lab.outside import Outside
from kubereach_lab.registry import Registry

log = logging.getLogger(__name__)
#: MetalLB's way to ask for addresses, one of each family
_ADDRESSES = "metallb.io/loadBalancerIPs"
_FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
#: seconds by which lb.late-and-open announces an address late
_LATE = 3.0


class _Pool:
    """The load-balancer addresses of one IP family, and who has which."""

    def __init__(self, config: LabConfig, plan: AddressPlan) -> None:
        self.plan = plan
        self.nodes = {name: plan.node_address(i) for i, name in enumerate(config.node_names)}
        self.held: dict[Key, str] = {}
        self._addresses = [str(address) for address in plan.load_balancers.hosts()]
        self._next = 0

    def take(self, key: Key, requested: str) -> str | None:
        """The address of this Service; None if that asked for ("" is any) cannot be had."""
        if key in self.held:
            return self.held[key]
        taken = set(self.held.values())
        if requested:
            if requested not in self._addresses or requested in taken:
                return None
            self.held[key] = requested
            return requested
        for _ in self._addresses:
            # walked round, so that an address that was given up is not somebody else's a moment later
            candidate = self._addresses[self._next]
            self._next = (self._next + 1) % len(self._addresses)
            if candidate not in taken:
                self.held[key] = candidate
                return candidate
        return None

    def announcer(self, address: str, nodes: list[str]) -> str:
        """The address of the one of these nodes that a load-balancer address is sent to; "" if there is none.

        Addresses are dealt out over the nodes.
        """
        if not nodes:
            return ""
        return self.nodes[nodes[self._addresses.index(address) % len(nodes)]]


class LoadBalancerController(Controller):
    """Serves Services of type LoadBalancer that name no class of their own."""

    def __init__(self, config: LabConfig, registry: Registry, outside: Outside) -> None:
        super().__init__(registry)
        self._faults = config.faults
        self._pools = {plan.family: _Pool(config, plan) for plan in config.plans}
        self._outside = outside
        self._routes: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del verb, old
        if resource == "services":
            yield name_of(new)
        elif resource == "endpointslices":
            key = (
                new["metadata"]["namespace"],
                service_of(new),
            )
            if any(key in pool.held for pool in self._pools.values()):
                yield key[0], str(key[1])

    def reconcile(self, namespace: str, name: str) -> None:
        service = self.registry.find("services", namespace, name)
        if service is None:
            self._withdraw_all((namespace, name))
            return
        spec = service["spec"]
        if self._faults.lb.pending:
            return
        ours = spec["type"] == "LoadBalancer" and self._is_our_class(spec)
        if being_deleted(service) or not ours:
            self._give_up(service)
            return
        families = spec["ipFamilies"][: 1 if self._faults.dualstack.no_load_balancer else 2]
        for family, pool in self._pools.items():
            if family not in families:
                self._withdraw(pool, (namespace, name))
        addresses = {}
        for family in families:
            pool = self._pools[family]
            requested = next(iter(pool.plan.own(self._requested(service))), "")
            address = self._take(pool, (namespace, name), requested)
            if address is None:
                message = (
                    f"{requested} cannot be had" if requested else "no address is left in the lab's pool"
                )
                self._take_charge(service)
                self.registry.events.record(
                    service, "Warning", "SyncLoadBalancerFailed", message, "service-controller"
                )
                return
            addresses[family] = address
        self._hold(service, list(addresses.values()))
        for family, address in addresses.items():
            pool = self._pools[family]
            announcer = pool.announcer(address, self._candidates(service, family))
            route = address, "" if self._faults.lb.unannounced else announcer
            if self._faults.lb.late_and_open:
                asyncio.get_running_loop().call_later(_LATE, self._routes.put_nowait, route)
            else:
                self._routes.put_nowait(route)

    def _is_our_class(self, spec: Object) -> bool:
        return not spec.get("loadBalancerClass") or self._faults.lb.class_ignored

    def _requested(self, service: Object) -> list[str]:
        """The addresses asked for: by MetalLB's annotation, or by the deprecated field."""
        if self._faults.lb.requested_address_ignored:
            return []
        requested = (service["metadata"].get("annotations") or {}).get(_ADDRESSES, "")
        requested = requested or service["spec"].get("loadBalancerIP", "")
        return [address.strip() for address in requested.split(",") if address.strip()]

    def _take(self, pool: _Pool, key: Key, requested: str) -> str | None:
        if self._faults.lb.pool_empty or (requested and self._faults.lb.requested_address_refused):
            return None
        return pool.take(key, requested)

    def _take_charge(self, service: Object) -> None:
        if _FINALIZER not in (service["metadata"].get("finalizers") or []):
            self.registry.update(
                "services",
                *name_of(service),
                lambda s: s["metadata"].setdefault("finalizers", []).append(_FINALIZER),
            )

    def _hold(self, service: Object, addresses: list[str]) -> None:
        self._take_charge(service)
        ingress = [{"ip": address, "ipMode": "VIP"} for address in addresses]

        def mutate(obj: Object) -> None:
            obj["status"]["loadBalancer"] = {"ingress": ingress}

        self.registry.update("services", *name_of(service), mutate, subresource="status")

    def _candidates(self, service: Object, family: str) -> list[str]:
        """The nodes that serve the Service in this family: all, or under a Local policy those with endpoints."""
        nodes = list(self._pools[family].nodes)
        if service["spec"].get("externalTrafficPolicy") != "Local":
            return nodes
        namespace, name = name_of(service)
        slices = slices_of(self.registry, namespace, name)
        with_endpoints = {
            endpoint.get("nodeName")
            for part in slices
            if part["addressType"] == family
            for endpoint in part.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready", True)
        }
        if self._faults.lb.wrong_node:
            return [node for node in nodes if node not in with_endpoints] or nodes
        return [node for node in nodes if node in with_endpoints]

    def _withdraw(self, pool: _Pool, key: Key) -> None:
        address = pool.held.pop(key, None)
        if address is not None and not self._faults.lb.address_kept:
            self._routes.put_nowait((address, ""))

    def _withdraw_all(self, key: Key) -> None:
        for pool in self._pools.values():
            self._withdraw(pool, key)

    def _give_up(self, service: Object) -> None:
        key = name_of(service)
        self._withdraw_all(key)
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
