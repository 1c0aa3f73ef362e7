"""EndpointSlices (and the older Endpoints) of Services with a selector.

Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/ and KEP-1672 (terminating endpoints).
Each IP family of a Service has slices of its own (KEP-563); Endpoints, the older kind, know the primary family alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from kubereach_lab.controllers.base import Controller
from kubereach_lab.controllers.hints import add_hints, zones
from kubereach_lab.controllers.meta import (
    Key,
    Object,
    being_deleted,
    condition,
    name_of,
    owned,
    owner_reference,
)
from kubereach_lab.controllers.triggers import TriggerTimes, annotate
from kubereach_lab.endpointslices import MANAGER, SERVICE, is_written_by, service_of
from kubereach_lab.registry import Registry

#: (name, protocol, number, application protocol or "")
_Port = tuple[str, str, int, str]
_SLICE_SIZE = 100
_OLD_MANAGER = "endpoints.kubernetes.io/managed-by"
_MANAGED_BY = "endpointslice-controller.k8s.io"
_HEADLESS = "service.kubernetes.io/headless"


class EndpointSliceController(Controller):
    """Keeps the slices of each Service equal to the pods that its selector matches."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self._times = TriggerTimes()
        self._faults = registry.config.faults
        #: seconds by which it is late
        self._delay = 0.0
        if self._faults.endpoints.late_wrong_label:
            self._delay = 1.0
        if self._faults.endpoints.slow:
            self._delay = 8.0
        #: when a controller that is slow looks at a Service (time.monotonic)
        self._due: dict[Key, float] = {}

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        if resource == "services":
            yield name_of(new)
        elif resource == "pods" and (
            verb != "MODIFIED" or old is None or _endpoint_fields(new) != _endpoint_fields(old)
        ):
            for service in self.registry.list("services", new["metadata"]["namespace"]):
                if any(_selects(service, pod) for pod in (new, old) if pod is not None):
                    yield name_of(service)
        elif resource == "endpointslices" and is_written_by(_MANAGED_BY, new) and (name := service_of(new)):
            yield new["metadata"]["namespace"], name

    def reconcile(self, namespace: str, name: str) -> None:
        service = self.registry.find("services", namespace, name)
        if service is None:
            self._times.forget((namespace, name))
            return
        if being_deleted(service) or not service["spec"].get("selector"):
            return
        if service["spec"]["type"] == "ExternalName":
            return
        if self._delay and namespace != "kube-system" and self._postponed((namespace, name)):
            return
        pods = [
            pod
            for pod in self.registry.list("pods", namespace)
            if self._finds(service, pod) and _has_address(pod) and not self._left_out(pod)
        ]
        trigger = self._times.latest(service, pods)
        existing = [s for s in owned(self.registry, "endpointslices", service) if not being_deleted(s)]
        families = service["spec"]["ipFamilies"]
        zone_of = zones(self.registry)
        for family in families:
            groups: dict[tuple[_Port, ...], list[Object]] = {}
            for pod in pods:
                if addresses_of(pod, family):
                    endpoint = endpoint_of(service, pod, family)
                    if self._faults.endpoints.not_ready_included:
                        endpoint["conditions"]["ready"] = True
                    if self._faults.endpoints.no_hostnames:
                        endpoint.pop("hostname", None)
                    if zone := zone_of.get(endpoint["nodeName"]):
                        endpoint["zone"] = zone
                    if not self._faults.topology.no_hints:
                        add_hints(service, endpoint)
                    groups.setdefault(_ports(service, pod), []).append(endpoint)
            own = [s for s in existing if s["addressType"] == family]
            self._write_slices(service, family, groups, own, trigger)
        for part in existing:
            if part["addressType"] not in families:
                self.registry.delete("endpointslices", *name_of(part))
        self._write_endpoints(service, [pod for pod in pods if addresses_of(pod, families[0])], trigger)

    def _postponed(self, key: Key) -> bool:
        """endpoints.slow and endpoints.late-wrong-label: each change is only looked at some seconds later."""
        if key not in self._due:
            self._due[key] = time.monotonic() + self._delay - 0.1
            self.enqueue_later(key, self._delay)
        if time.monotonic() < self._due[key]:
            return True
        del self._due[key]
        return False

    def _finds(self, service: Object, pod: Object) -> bool:
        labels = pod["metadata"].get("labels") or {}
        if self._faults.endpoints.wrong_label or self._faults.endpoints.late_wrong_label:
            return all(
                value.startswith(labels.get(key, "?")) for key, value in service["spec"]["selector"].items()
            )
        return _selects(service, pod)

    def _left_out(self, pod: Object) -> bool:
        if self._faults.endpoints.terminating_dropped and being_deleted(pod):
            return True
        return self._faults.endpoints.empty and pod["metadata"]["namespace"] != "kube-system"

    def _write_slices(
        self,
        service: Object,
        family: str,
        groups: dict[tuple[_Port, ...], list[Object]],
        existing: list[Object],
        time: str,
    ) -> None:
        free = list(existing)
        wanted: list[tuple[list[Object], list[Object]]] = []
        for key, endpoints in groups.items():
            ports = [
                {"name": name, "protocol": protocol, "port": port} | ({"appProtocol": app} if app else {})
                for name, protocol, port, app in key
            ]
            wanted += [(ports, endpoints[i : i + _SLICE_SIZE]) for i in range(0, len(endpoints), _SLICE_SIZE)]
        if not wanted:
            wanted = [([], [])]  # a Service without pods has one empty slice of each family
        for ports, endpoints in wanted:
            # a slice with these ports is reused, so that watchers see one change and not a deletion and a creation
            reuse = next((s for s in free if (s.get("ports") or []) == ports), None) or next(iter(free), None)
            labels = {MANAGER: _MANAGED_BY, SERVICE: service["metadata"]["name"]}
            own = service["metadata"].get("labels") or {}
            labels |= {k: v for k, v in own.items() if k not in labels and k != _HEADLESS}
            if service["spec"].get("clusterIP") == "None":
                labels[_HEADLESS] = ""
            if reuse is not None:
                free.remove(reuse)
                self._rewrite(reuse, labels, ports, endpoints, time)
                continue
            meta = service["metadata"]
            made: Object = {
                "metadata": {
                    "generateName": f"{meta['name']}-",
                    "namespace": meta["namespace"],
                    "labels": labels,
                    "ownerReferences": [owner_reference(service)],
                },
                "addressType": family,
                "endpoints": endpoints,
                "ports": ports,
            }
            annotate(made, time)
            self.registry.create("endpointslices", made)
        for surplus in free:
            self.registry.delete("endpointslices", *name_of(surplus))

    def _rewrite(
        self, found: Object, labels: dict[str, str], ports: list[Object], endpoints: list[Object], time: str
    ) -> None:
        is_now = (found["metadata"].get("labels"), found.get("ports") or [], found.get("endpoints") or [])
        if is_now == (labels, ports, endpoints):
            return

        def mutate(obj: Object) -> None:
            annotate(obj, time)
            obj["metadata"]["labels"] = labels
            obj["ports"] = ports
            obj["endpoints"] = endpoints

        self.registry.update("endpointslices", *name_of(found), mutate)

    def _write_endpoints(self, service: Object, pods: list[Object], time: str) -> None:
        groups: dict[tuple[_Port, ...], tuple[list[Object], list[Object]]] = {}
        for pod in pods:
            if being_deleted(pod) or (service["spec"].get("ports") and not _ports(service, pod)):
                continue
            endpoint = endpoint_of(service, pod, service["spec"]["ipFamilies"][0])
            address = {"ip": endpoint["addresses"][0], "nodeName": endpoint["nodeName"]}
            address["targetRef"] = endpoint["targetRef"]
            if "hostname" in endpoint:
                address["hostname"] = endpoint["hostname"]
            lists = groups.setdefault(_ports(service, pod), ([], []))
            lists[0 if endpoint["conditions"]["ready"] else 1].append(address)
        subsets = []
        for key, (ready, not_ready) in groups.items():
            ports = [
                {"name": name, "port": port, "protocol": protocol, "appProtocol": app}
                for name, protocol, port, app in key
            ]
            subset: Object = {"ports": [{k: v for k, v in port.items() if v} for port in ports]}
            subset |= {"addresses": ready} if ready else {}
            subset |= {"notReadyAddresses": not_ready} if not_ready else {}
            subsets.append(subset)
        namespace, name = name_of(service)
        labels = {**(service["metadata"].get("labels") or {}), _OLD_MANAGER: "endpoint-controller"}
        if service["spec"].get("clusterIP") == "None":
            labels[_HEADLESS] = ""
        found = self.registry.find("endpoints", namespace, name)
        if found is None:
            body: Object = {"metadata": {"name": name, "namespace": namespace, "labels": labels}}
            annotate(body, time)
            self.registry.create("endpoints", body | ({"subsets": subsets} if subsets else {}))
            return
        if (found["metadata"].get("labels"), _shown(found.get("subsets"))) == (labels, _shown(subsets)):
            return

        def mutate(obj: Object) -> None:
            annotate(obj, time)
            obj["metadata"]["labels"] = labels
            obj.pop("subsets", None)
            if subsets:
                obj["subsets"] = subsets

        self.registry.update("endpoints", namespace, name, mutate)


def _selects(service: Object, pod: Object) -> bool:
    selector = service["spec"].get("selector") or {}
    return bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()


def _endpoint_fields(pod: Object) -> tuple[object, ...]:
    """What endpoints tell of a pod; its phase is not of it, and nothing is written for that alone."""
    status, spec, metadata = pod.get("status", {}), pod["spec"], pod["metadata"]
    place = (status.get("podIPs"), spec.get("nodeName"), spec.get("hostname"), spec.get("subdomain"))
    readiness = condition(pod, "Ready")
    return (*place, metadata.get("labels"), being_deleted(pod), readiness.get("status"))


def _shown(subsets: list[Object] | None) -> list[Object]:
    """Subsets without the empty lists that are not stored."""
    return [{key: value for key, value in subset.items() if value} for subset in subsets or []]


def _has_address(pod: Object) -> bool:
    status = pod.get("status", {})
    return bool(status.get("podIP")) and status.get("phase") not in ("Succeeded", "Failed")


def addresses_of(pod: Object, family: str) -> list[str]:
    """A pod's addresses of one family."""
    status = pod["status"]
    addresses = [one["ip"] for one in status.get("podIPs") or [{"ip": status["podIP"]}]]
    return [address for address in addresses if (":" in address) == (family == "IPv6")]


def endpoint_of(service: Object, pod: Object, family: str) -> Object:
    """The endpoint that a pod, which has an address of the family, is for a Service."""
    serving = condition(pod, "Ready").get("status") == "True"
    terminating = being_deleted(pod)
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: Object = {
        "addresses": addresses_of(pod, family)[:1],
        "conditions": {
            "ready": publish or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": pod["metadata"]["namespace"],
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
        },
        "nodeName": pod["spec"]["nodeName"],
    }
    spec = pod["spec"]
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = spec["hostname"]
    return endpoint


def _ports(service: Object, pod: Object) -> tuple[_Port, ...]:
    """The Service's ports on this pod; a port name that the pod lacks is left out."""
    found = []
    for port in service["spec"].get("ports") or []:
        target = port.get("targetPort", port["port"])
        if service["spec"].get("clusterIP") == "None" and not target:
            target = port["port"]
        if isinstance(target, str):
            number = _named_port(pod, target, port["protocol"])
            if number is None:
                continue
            target = number
        found.append((port.get("name", ""), port["protocol"], target, port.get("appProtocol", "")))
    return tuple(found)


def _named_port(pod: Object, name: str, protocol: str) -> int | None:
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or []:
            if port.get("name") == name and port.get("protocol", "TCP") == protocol:
                return int(port["containerPort"])
    return None


class EndpointsCleaner(Controller):
    """Endpoints have no owner: they go with their Service."""

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del old
        if resource == "services" and verb == "DELETED":
            yield name_of(new)

    def reconcile(self, namespace: str, name: str) -> None:
        if self.registry.find("services", namespace, name) is None and self.registry.find(
            "endpoints", namespace, name
        ):
            self.registry.delete("endpoints", namespace, name)
