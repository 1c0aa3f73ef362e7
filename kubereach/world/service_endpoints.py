"""Who must answer for a Service, as the pods are at one moment."""

from __future__ import annotations

from collections.abc import Iterable

from kubereach.kube.client import Object
from kubereach.kube.endpoints import addresses_of, port_at
from kubereach.model.ip import first_of


class Endpoints(frozenset[str]):
    """The names of the pods that must serve: selected and ready, read from the pods and not from EndpointSlices.

    `version` is the IP version (4 or 6) of the Service's first family; `written` are the addresses of EndpointSlices
    that its manifest brought along, where it selects no pods.
    """

    _pods: tuple[Object, ...]
    _version: int
    _written: frozenset[str]

    @classmethod
    def of(cls, pods: Iterable[Object], version: int, written: frozenset[str]) -> Endpoints:
        all_pods = tuple(pods)
        made = cls(pod["metadata"]["name"] for pod in all_pods)
        made._pods, made._version, made._written = all_pods, version, written
        return made

    @property
    def addresses(self) -> frozenset[str]:
        """Their addresses of the first IP family; without a selector, those of the EndpointSlices in the manifest."""
        return self._written or frozenset(self.address_of.values())

    @property
    def address_of(self) -> dict[str, str]:
        """The address of the first IP family of each pod, by name."""
        return {name: first_of(ips, self._version) for name, ips in self.ips_of.items()}

    @property
    def ips_of(self) -> dict[str, tuple[str, ...]]:
        """All addresses of each pod, by name."""
        return {pod["metadata"]["name"]: addresses_of(pod) for pod in self._pods}

    @property
    def by_node(self) -> dict[str, frozenset[str]]:
        """Names of the pods, by the node that they are on; nodes without any are left out."""
        found: dict[str, frozenset[str]] = {}
        for pod in self._pods:
            node = str(pod["spec"].get("nodeName", ""))
            found[node] = found.get(node, frozenset()) | {pod["metadata"]["name"]}
        return found

    @property
    def container_ports(self) -> set[tuple[int, str]]:
        """Numbers and protocols of all ports that their containers declare."""
        return {
            (int(port["containerPort"]), port.get("protocol", "TCP"))
            for pod in self._pods
            for container in pod["spec"]["containers"]
            for port in container.get("ports") or ()
        }

    def ports_at(self, port: Object) -> tuple[tuple[str, int], ...]:
        """The number that a port of the Service leads to at each pod, by name, in order."""
        return tuple(sorted((str(pod["metadata"]["name"]), port_at(pod, port)) for pod in self._pods))
