"""The EndpointSlices of a Service: what they list, and changes to those that a manifest has written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kubereach.kube.client import Object, path_of
from kubereach.kube.endpoints import addresses_of
from kubereach.kube.endpointslices import SERVICE, belonging_to, is_called_ready, slices_of
from kubereach.model.convergence import ENDPOINTS
from kubereach.model.errors import Failure, NotConforming
from kubereach.model.finding import API, Finding
from kubereach.model.tally import judged
from kubereach.world.connection import Connection
from kubereach.world.last_change import LastChange
from kubereach.world.service_endpoints import Endpoints
from kubereach.world.service_object import ServiceObject


class ServiceSlices:
    """`written` are the addresses of the EndpointSlices that came with the Service's manifest.

    `endpoints` gives the pods that must serve at the moment.
    """

    def __init__(
        self,
        connection: Connection,
        obj: ServiceObject,
        last_change: LastChange,
        written: Iterable[str],
        endpoints: Callable[[], Endpoints],
    ) -> None:
        self._connection = connection
        self._object = obj
        self._last_change = last_change
        self.written = frozenset(written)
        self._endpoints = endpoints

    @property
    def addresses(self) -> frozenset[str]:
        """All addresses that are listed, whatever their conditions, as the API has them now."""
        slices = slices_of(self._connection.api, self._object.namespace, self._object.name)
        return frozenset(
            address
            for part in slices
            for endpoint in part.get("endpoints") or []
            for address in endpoint["addresses"]
        )

    def must_list_ready_pods(self) -> None:
        """They call just the addresses of the Service's ready pods ready, and list no address of anybody else's.

        The controller that writes them follows the pods: it has ``settings.converge_deadline`` seconds. Raises
        `NotConforming`.
        """
        judged()
        namespace, name = self._object.namespace, self._object.name
        limit = self._connection.context.settings.converge_deadline

        def watched() -> list[Object]:
            return belonging_to(name, self._connection.watch_cache.all("EndpointSlice", namespace))

        if self._object.wait(lambda: not self._mislisted(watched()), limit):
            return
        # watches follow what bears the run's label, which the controller copies from the Service
        got = self._mislisted(slices_of(self._connection.api, namespace, name))
        if not got:
            return
        ready = ", ".join(sorted(self._endpoints().addresses)) or "none"
        see = (f"kubectl -n {namespace} get endpointslices -l {SERVICE}={name} -o yaml",)
        what = f"those of Service {name} list {got}: check the EndpointSlice controller"
        found = Finding(API, "EndpointSlices", what, next=see)
        where, wanted = f"EndpointSlices of {name}", f"after {limit:.0f} s, only the ready pods' {ready}"
        raise NotConforming([Failure("API", where, wanted, got, layer=API, finding=found)])

    def _mislisted(self, slices: Iterable[Object]) -> str:
        """What EndpointSlices say, in words, unless it is what the pods say; then empty."""
        ready: set[str] = set()
        others: set[str] = set()
        for part in slices:
            for endpoint in part.get("endpoints") or ():
                (ready if is_called_ready(endpoint) else others).update(endpoint["addresses"])
        # pods that are not ready, or on their way out, may be listed as such
        pods = self._connection.watch_cache.all("Pod", self._object.namespace)
        ours = {address for pod in pods for address in addresses_of(pod)}
        if ready == self._endpoints().addresses and others <= ours:
            return ""
        unready = (f"{one} (not ready)" for one in sorted(others - ready))
        return ", ".join([*sorted(ready), *unready]) or "nothing"

    def write(self, number: int, *addresses: str) -> None:
        """Rewrite the addresses of one of those that were written by hand, counted from 1."""
        endpoints = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
        self._patch(number, {"endpoints": endpoints})
        self.written = frozenset(addresses)

    def label(self, number: int, key: str, value: str | None) -> None:
        """Give one of those that were written by hand a label, or take it away."""
        self._patch(number, {"metadata": {"labels": {key: value}}})

    def _patch(self, number: int, change: Object) -> None:
        namespace, name = self._object.namespace, f"{self._object.name}-{number}"
        self._connection.api.patch(path_of(("discovery.k8s.io/v1", "EndpointSlice"), namespace, name), change)
        self._connection.changed("patch", "EndpointSlice", namespace, name)
        self._last_change.note(ENDPOINTS)
