"""The Service that an address belongs to: its pods, and what the EndpointSlices say of them, as the API has it now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.exception
import dns.name
import dns.reversename

from kubereach.kube.client import Object
from kubereach.kube.endpoints import addresses_of, port_at, selected, selector_of, serving
from kubereach.kube.endpointslices import is_called_ready, slices_of
from kubereach.kube.watch_cache import is_ready
from kubereach.model.address import Address
from kubereach.world.load_balancer_own import ingress_of

if TYPE_CHECKING:
    from kubereach.world.world import World


_NO_POD: Object = {"metadata": {"name": ""}, "spec": {}}
#: the label of Services that are left to another service proxy
_NOT_OURS = "service.kubernetes.io/service-proxy-name"


@dataclass(frozen=True)
class Endpoint:
    """One address of a pod as an EndpointSlice lists it, or as it should; `number` is the port there, 0 if unknown."""

    address: str
    pod: str
    node: str
    number: int
    ready: bool = True
    #: as an EndpointSlice has it: the name that it gives to DNS, and whether it says for whom it is
    hostname: str = ""
    hinted: bool = False
    #: on its node's own network: the address is the node's
    hosted: bool = False


@dataclass(frozen=True)
class Subject:
    """A Service, and the one of its ports that was tried."""

    service: Object
    port: Object
    #: the pods that its selector matches
    pods: tuple[Object, ...]
    #: what should be listed: the pods that are ready, by address
    expected: Mapping[str, Endpoint]
    #: what is listed, by address
    listed: Mapping[str, Endpoint]

    @property
    def name(self) -> str:
        meta = self.service["metadata"]
        return f"{meta['namespace']}/{meta['name']}"

    @property
    def node_port(self) -> int:
        """The node port of the port that was tried; 0 without one."""
        return int(self.port.get("nodePort") or 0)

    @property
    def selects(self) -> bool:
        return bool(selector_of(self.service))

    @property
    def endpoints(self) -> list[Endpoint]:
        """Those that traffic should get to: of the pods, or of the slices where there is no selector."""
        found = self.expected if self.selects else {a: e for a, e in self.listed.items() if e.ready}
        return [found[address] for address in sorted(found)]


def subject_of(world: World, address: Address) -> Subject | None:
    """The Service behind a cluster IP, node port, load-balancer address or name; None if there is none (any more)."""
    for service in world.watch_cache.all("Service"):
        port = _port(service, address)
        if port is not None:
            return _look(world, service, port, 6 if ":" in address.host else address.family)
    return None


def subject_named(world: World, name: str, family: int = 4) -> Subject | None:
    """The Service that a DNS name is of: its own, an endpoint's or a port's; None if it is of none of ours."""
    labels = name.rstrip(".").lower().split(".")
    if "svc" not in labels[2:]:
        return None
    at = labels.index("svc", 2)
    service = world.watch_cache.get("Service", labels[at - 1], labels[at - 2])
    ports = (service or {"spec": {}})["spec"].get("ports")
    return _look(world, service, ports[0], family) if service and ports else None


def subjects_at(world: World, name: str) -> list[Subject]:
    """The headless Services that give a PTR name its target: those that have, or should have, its address."""
    try:
        address = dns.reversename.to_address(dns.name.from_text(name))
    except (dns.exception.DNSException, ValueError):
        return []
    family = 6 if ":" in address else 4
    headless = [s for s in world.watch_cache.all("Service") if s["spec"].get("clusterIP") == "None"]
    found = [_look(world, s, s["spec"]["ports"][0], family) for s in headless if s["spec"].get("ports")]
    return [one for one in found if address in one.expected or address in one.listed]


def subjects_like(world: World, subject: Subject, address: Address) -> Iterator[Subject]:
    """Other Services that checks share, with endpoints of their own, open to anybody by a cluster IP of the family."""
    family = address.version
    for service in world.watch_cache.all("Service", world.namespaces.services):
        spec, meta = service["spec"], service["metadata"]
        name = str(meta["name"])
        # what other checks make is changed and deleted while it is looked at
        if f"{meta['namespace']}/{name}" == subject.name or not world.services.is_shared(name):
            continue
        plain = spec.get("internalTrafficPolicy", "Cluster") == "Cluster" and not meta.get("labels", {}).get(
            _NOT_OURS
        )
        plain = plain and spec.get("sessionAffinity", "None") == "None" and bool(selector_of(service))
        address_of = str(spec.get("clusterIP") or "None")
        if not plain or address_of == "None" or (":" in address_of) != (family == 6):
            continue
        for port in spec.get("ports") or ():
            found = _look(world, service, port, family)
            if port.get("protocol", "TCP") == "TCP" and len(found.endpoints) > 1:
                yield found
                break


def datagram_endpoints(world: World) -> list[Endpoint]:
    """The ready pods of ours that echo datagrams, at the port where they do."""
    found = []
    for pod in filter(is_ready, world.watch_cache.all("Pod", world.namespaces.services)):
        name, node = pod["metadata"]["name"], pod["spec"].get("nodeName", "")
        ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or ()]
        numbers = [port["containerPort"] for port in ports if port.get("protocol") == "UDP"]
        found += [Endpoint(pod["status"]["podIP"], name, node, number) for number in numbers]
    return found


def _port(service: Object, address: Address) -> Object | None:
    """The port of the Service that the address means, if it is one of its addresses."""
    spec, meta = service["spec"], service["metadata"]
    by_node_port = address.way in ("nodeport", "health-check")
    hosts = {*(spec.get("clusterIPs") or ()), spec.get("clusterIP"), *(spec.get("externalIPs") or ())}
    hosts |= {ingress.get("ip") or ingress.get("hostname") for ingress in ingress_of(service) or ()}
    ours = address.host in hosts or address.host.split(".")[:2] == [meta["name"], meta["namespace"]]
    ours = ours or (address.host == meta["name"] and address.way != "nodeport")
    protocol = {"udp": "UDP", "sctp": "SCTP"}.get(address.kind, "TCP")
    ports: list[Object] = spec.get("ports") or []
    for port in ports:
        if port.get("protocol", "TCP") != protocol:
            continue
        if by_node_port and address.port in (port.get("nodePort"), spec.get("healthCheckNodePort")):
            return port
        if ours and not by_node_port and (port["port"] == address.port or spec.get("clusterIP") == "None"):
            return port
    return None


def _look(world: World, service: Object, port: Object, family: int) -> Subject:
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    pods = selected(service, world.watch_cache.all("Pod", namespace))
    expected = {
        ip: Endpoint(
            ip,
            pod["metadata"]["name"],
            pod["spec"].get("nodeName", ""),
            port_at(pod, port),
            hosted=bool(pod["spec"].get("hostNetwork")),
        )
        for pod in serving(service, pods)
        for ip in addresses_of(pod)
        if (":" in ip) == (family == 6)
    }
    return Subject(
        service, port, tuple(pods), expected, _listed(world, namespace, name, port.get("name"), family)
    )


def _listed(world: World, namespace: str, name: str, port: str | None, family: int) -> dict[str, Endpoint]:
    pods = {address: pod for pod in world.watch_cache.all("Pod", namespace) for address in addresses_of(pod)}
    found = {}
    for part in slices_of(world.api, namespace, name):
        if part.get("addressType") != ("IPv6" if family == 6 else "IPv4"):
            continue
        numbers = [p["port"] for p in part.get("ports") or () if (p.get("name") or "") == (port or "")]
        for endpoint in part.get("endpoints") or ():
            ready = is_called_ready(endpoint)
            pod = (endpoint.get("targetRef") or {}).get("name", "")
            for address in endpoint["addresses"]:
                # what was written by hand may name neither pod nor node, though the address is a pod's
                its = pods.get(address, _NO_POD)
                found[address] = Endpoint(
                    address,
                    pod or its["metadata"]["name"],
                    endpoint.get("nodeName") or its["spec"].get("nodeName", ""),
                    numbers[0] if numbers else 0,
                    ready,
                    endpoint.get("hostname") or "",
                    bool(endpoint.get("hints")),
                    bool(its["spec"].get("hostNetwork")),
                )
    return found
