"""Who must answer for a Service: its pods, read from the pods themselves."""

from __future__ import annotations

from kubereach.kube.client import Object
from kubereach.kube.endpoints import addresses_of, port_at, selector_of, serving
from kubereach.kube.endpointslices import SERVICE, service_of, slices_of
from kubereach.model.errors import Failure, NotConforming
from kubereach.model.finding import API, Finding
from kubereach.model.ip import first_of
from kubereach.model.tally import judged
from kubereach.probe import VantageGroup
from kubereach.probe.vantage import POD
from kubereach.world.selector_mismatch import differences
from kubereach.world.service_object import ServiceObject


class ServicePods(ServiceObject):
    """A Service with its endpoints."""

    def _pods(self) -> list[Object]:
        return serving(self.obj, self._world.board.all("Pod", self.namespace))

    @property
    def endpoints(self) -> frozenset[str]:
        """Names of the pods that must serve: selected and ready. Read from the pods, not from EndpointSlices."""
        return frozenset(pod["metadata"]["name"] for pod in self._pods())

    @property
    def addresses(self) -> frozenset[str]:
        """Their addresses of its first IP family; without a selector, those of the EndpointSlices in its manifest."""
        return self._written or frozenset(self.address_of.values())

    @property
    def address_of(self) -> dict[str, str]:
        """The address of its first IP family of each of its pods, by name."""
        version = self.ip_version
        return {name: first_of(ips, version) for name, ips in self.pod_ips.items()}

    @property
    def pod_ips(self) -> dict[str, tuple[str, ...]]:
        """All addresses of each of its pods, by name."""
        return {pod["metadata"]["name"]: addresses_of(pod) for pod in self._pods()}

    @property
    def endpoints_by_node(self) -> dict[str, frozenset[str]]:
        """Names of the pods that must serve, by the node that they are on; nodes without any are left out."""
        found: dict[str, frozenset[str]] = {}
        for pod in self._pods():
            node = str(pod["spec"].get("nodeName", ""))
            found[node] = found.get(node, frozenset()) | {pod["metadata"]["name"]}
        return found

    def _targets(self, port: Object) -> tuple[tuple[str, int], ...]:
        """The number that targetPort means at each of its pods: a name means what the pod gives it to."""
        found = [(str(pod["metadata"]["name"]), port_at(pod, port)) for pod in self._pods()]
        return tuple(sorted(found))

    @property
    def listed(self) -> frozenset[str]:
        """Addresses in its EndpointSlices, whatever their conditions, as the API has them now."""
        slices = slices_of(self._world.api, self.namespace, self.name)
        return frozenset(
            address
            for part in slices
            for endpoint in part.get("endpoints") or []
            for address in endpoint["addresses"]
        )

    def must_be_listed(self) -> None:
        """Its EndpointSlices call just the addresses of its ready pods ready, and list no address of anybody else's.

        The controller that writes them follows the pods: it has ``converge_deadline`` seconds. Raises `NotConforming`.
        """
        judged()
        limit = self._world.context.settings.converge_deadline
        if self._world.board.wait(lambda: not self._mislisted(self._slices_seen()), limit):
            return
        # the board has what bears the run's label, which the controller copies from the Service
        got = self._mislisted(slices_of(self._world.api, self.namespace, self.name))
        if not got:
            return
        wanted = f"after {limit:.0f} s, just the ready pods' {', '.join(sorted(self.addresses)) or 'none'}"
        see = (f"kubectl -n {self.namespace} get endpointslices -l {SERVICE}={self.name} -o yaml",)
        what = f"those of Service {self.name} list {got}: look at the EndpointSlice controller"
        found = Finding(API, "EndpointSlices", what, next=see)
        where = f"EndpointSlices of {self.name}"
        raise NotConforming([Failure("API", where, wanted, got, layer=API, finding=found)])

    def _slices_seen(self) -> list[Object]:
        slices = self._world.board.all("EndpointSlice", self.namespace)
        return [part for part in slices if service_of(part) == self.name]

    def _mislisted(self, slices: list[Object]) -> str:
        """What EndpointSlices say, in words, unless it is what the pods say; then empty."""
        ready: set[str] = set()
        others: set[str] = set()
        for part in slices:
            for endpoint in part.get("endpoints") or ():
                # unset means ready: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#ready
                is_called_ready = (endpoint.get("conditions") or {}).get("ready") is not False
                (ready if is_called_ready else others).update(endpoint["addresses"])
        # pods that are not ready, or on their way out, may be listed as such
        pods = self._world.board.all("Pod", self.namespace)
        ours = {address for pod in pods for address in addresses_of(pod)}
        if ready == self.addresses and others <= ours:
            return ""
        return (
            ", ".join([*sorted(ready), *(f"{one} (not ready)" for one in sorted(others - ready))])
            or "nothing"
        )

    def mismatches(self) -> list[str]:
        """Which labels keep pods from being its endpoints, in lines; see `kubereach.world.selector_mismatch`."""
        return differences(selector_of(self.obj), self._world.board.all("Pod", self.namespace))

    def own_pods(self, *names_: str) -> VantageGroup:
        """Vantages inside its own pods (all, or the named ones, ready or not)."""
        chosen = [
            pod
            for pod in self._world.board.all("Pod", self.namespace)
            if pod["metadata"]["name"] in (names_ or self.endpoints)
        ]
        return self._world.vantages(chosen, POD, labelled=True)
