"""EndpointSlices of Endpoints that somebody wrote by hand for a Service without a selector.

Source: https://kubernetes.io/docs/concepts/services-networking/service/#services-without-selectors and KEP-752.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from kubereach_lab.controllers.base import Controller
from kubereach_lab.controllers.meta import Key, Object, being_deleted, name_of, owned, owner_reference
from kubereach_lab.endpointslices import MANAGER, SERVICE, is_written_by, service_of

_MANAGED_BY = "endpointslicemirroring-controller.k8s.io"
_SKIP = ("endpointslice.kubernetes.io/skip-mirror", "endpoints.kubernetes.io/managed-by")


class EndpointsMirror(Controller):
    """Keeps a slice for each subset and IP family of such Endpoints; they go with the Endpoints that own them."""

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del verb, old
        if resource in ("endpoints", "services"):
            yield name_of(new)
        elif resource == "endpointslices" and is_written_by(_MANAGED_BY, new) and (name := service_of(new)):
            yield new["metadata"]["namespace"], name

    def reconcile(self, namespace: str, name: str) -> None:
        endpoints = self.registry.find("endpoints", namespace, name)
        if endpoints is None or being_deleted(endpoints):
            return
        service = self.registry.find("services", namespace, name)
        mirrored = service is not None and not service["spec"].get("selector") and _is_by_hand(endpoints)
        wanted = _slices(endpoints) if mirrored else []
        free = [s for s in owned(self.registry, "endpointslices", endpoints) if not being_deleted(s)]
        for body in wanted:
            place = (body["addressType"], body.get("ports") or [])
            same = next((s for s in free if (s["addressType"], s.get("ports") or []) == place), None)
            if same is None:
                self.registry.create("endpointslices", body)
                continue
            free.remove(same)
            self._rewrite(same, body)
        for surplus in free:
            self.registry.delete("endpointslices", *name_of(surplus))

    def _rewrite(self, found: Object, body: Object) -> None:
        def mutate(obj: Object) -> None:
            obj["metadata"]["labels"] = body["metadata"]["labels"]
            obj["endpoints"] = body["endpoints"]

        self.registry.update("endpointslices", *name_of(found), mutate)


def _is_by_hand(endpoints: Object) -> bool:
    labels = endpoints["metadata"].get("labels") or {}
    return not any(key in labels for key in _SKIP)


def _slices(endpoints: Object) -> list[Object]:
    meta = endpoints["metadata"]
    labels = {**(meta.get("labels") or {}), MANAGER: _MANAGED_BY, SERVICE: meta["name"]}
    found = []
    for subset in endpoints.get("subsets") or []:
        addresses = [(a, True) for a in subset.get("addresses") or []]
        addresses += [(a, False) for a in subset.get("notReadyAddresses") or []]
        for family, version in (("IPv4", 4), ("IPv6", 6)):
            own = [
                _endpoint(a, ready)
                for a, ready in addresses
                if ipaddress.ip_address(a["ip"]).version == version
            ]
            if own:
                ports = [{"name": "", **port} for port in subset.get("ports") or []]
                metadata = {
                    "generateName": f"{meta['name']}-",
                    "namespace": meta["namespace"],
                    "labels": labels,
                    "ownerReferences": [owner_reference(endpoints)],
                }
                found.append({"metadata": metadata, "addressType": family, "endpoints": own, "ports": ports})
    return found


def _endpoint(address: Object, ready: bool) -> Object:
    endpoint: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for key in ("hostname", "nodeName", "targetRef"):
        if key in address:
            endpoint[key] = address[key]
    return endpoint
