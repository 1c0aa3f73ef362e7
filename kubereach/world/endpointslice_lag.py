"""How long EndpointSlices take to say what became of the pods: a service proxy cannot know it any sooner.

Seen by the watches alone, so that it costs the cluster nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Set

from kubereach.kube.client import Object
from kubereach.kube.endpoints import addresses_of, selected, selector_of, serving
from kubereach.kube.endpointslices import belonging_to, is_called_ready, service_of
from kubereach.kube.watch_cache import WatchCache

#: (namespace, name) of a Service
Key = tuple[str, str]


class SliceLag:
    """Keeps, for each Service with a selector, since when its EndpointSlices say something else than its pods.

    Of each address on its own: while pods come and go all the time, slices may follow each at once and never agree.
    """

    def __init__(self, watch_cache: WatchCache, clock: Callable[[], float] = time.monotonic) -> None:
        self._watch_cache = watch_cache
        self._clock = clock
        #: by Service and address
        self._since: dict[Key, dict[str, float]] = {}
        #: the longest that a Service had to wait, in seconds
        self._longest: dict[Key, float] = {}
        self._lock = threading.Lock()
        #: of what several watches tell at once, what is looked at last is the last
        self._looking = threading.Lock()

    def noticed(self, old: Object | None, new: Object) -> None:
        """To be called after the watch cache has taken a change in."""
        if new["kind"] not in ("Pod", "EndpointSlice", "Service"):
            return
        namespace = new["metadata"].get("namespace", "")
        concerned = self._concerned(namespace, new, old)
        if not concerned:
            return
        with self._looking:
            slices = self._watch_cache.all("EndpointSlice", namespace)
            pods = self._watch_cache.all("Pod", namespace)
            differing = {
                (namespace, name): _listed(slices, name) ^ _serving(service, pods)
                for service in concerned
                for name in [service["metadata"]["name"]]
            }
            with self._lock:
                self._take(differing, self._clock())

    def _take(self, differing: Mapping[Key, Set[str]], now: float) -> None:
        for key, addresses in differing.items():
            before = self._since.get(key, {})
            ended = [now - began for address, began in before.items() if address not in addresses]
            self._longest[key] = max([self._longest.get(key, 0.0), *ended])
            self._since[key] = {address: before.get(address, now) for address in addresses}

    def _concerned(self, namespace: str, new: Object, old: Object | None) -> list[Object]:
        """The Services with a selector whose own change it is, or that of their pods or EndpointSlices."""
        versions = [obj for obj in (new, old) if obj]
        if new["kind"] == "Pod":
            return [s for s in self._watch_cache.all("Service", namespace) if selected(s, versions)]
        is_slice = new["kind"] == "EndpointSlice"
        names = {service_of(obj) if is_slice else obj["metadata"]["name"] for obj in versions}
        found = [self._watch_cache.get("Service", namespace, name) for name in names]
        return [service for service in found if service is not None and selector_of(service)]

    def longest(self, namespace: str, name: str) -> float:
        """Seconds that the Service's EndpointSlices lagged behind its pods at most, up to now if they still do."""
        key = (namespace, name)
        with self._lock:
            now = self._clock()
            return max([self._longest.get(key, 0.0), *(now - b for b in self._since.get(key, {}).values())])


def _serving(service: Object, pods: list[Object]) -> frozenset[str]:
    """The addresses that must be listed: of the families that the Service has."""
    families = service["spec"].get("ipFamilies") or ["IPv4"]
    return frozenset(
        address
        for pod in serving(service, pods)
        for address in addresses_of(pod)
        if ("IPv6" if ":" in address else "IPv4") in families
    )


def _listed(slices: list[Object], name: str) -> frozenset[str]:
    return frozenset(
        address
        for part in belonging_to(name, slices)
        for endpoint in part.get("endpoints") or ()
        if is_called_ready(endpoint)
        for address in endpoint["addresses"]
    )
