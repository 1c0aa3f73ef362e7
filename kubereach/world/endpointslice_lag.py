"""How long EndpointSlices take to say what became of the pods: a service proxy cannot know it any sooner.

Seen by the watches alone, so that it costs the cluster nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Set
from typing import cast

from kubereach.kube.client import Object
from kubereach.kube.endpointslices import service_of
from kubereach.kube.watch_cache import Board, is_ready

#: (namespace, name) of a Service
Key = tuple[str, str]


class SliceLag:
    """Keeps, for each Service with a selector, since when its EndpointSlices say something else than its pods.

    Of each address on its own: while pods come and go all the time, slices may follow each at once and never agree.
    """

    def __init__(self, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        self._board = board
        self._clock = clock
        #: by Service and address
        self._since: dict[Key, dict[str, float]] = {}
        #: the longest that a Service had to wait, in seconds
        self._longest: dict[Key, float] = {}
        self._lock = threading.Lock()
        #: of what several watches tell at once, what is looked at last is the last
        self._looking = threading.Lock()

    def noticed(self, old: Object | None, new: Object) -> None:
        """To be called after the board has taken a change in."""
        if new["kind"] not in ("Pod", "EndpointSlice", "Service"):
            return
        namespace = new["metadata"].get("namespace", "")
        concerned = self._concerned(namespace, new, old)
        if not concerned:
            return
        with self._looking:
            slices = self._board.all("EndpointSlice", namespace)
            pods = self._board.all("Pod", namespace)
            differing = {
                (namespace, name): _listed(slices, name) ^ _ready(pods, service)
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
            labels = [(pod["metadata"].get("labels") or {}).items() for pod in versions]
            services = self._board.all("Service", namespace)
            return [s for s in services if (w := _selector(s)) and any(w <= one for one in labels)]
        is_slice = new["kind"] == "EndpointSlice"
        names = {service_of(obj) if is_slice else obj["metadata"]["name"] for obj in versions}
        found = [self._board.get("Service", namespace, name) for name in names]
        return [service for service in found if service is not None and _selector(service)]

    def longest(self, namespace: str, name: str) -> float:
        """Seconds that the Service's EndpointSlices lagged behind its pods at most, up to now if they still do."""
        key = (namespace, name)
        with self._lock:
            now = self._clock()
            return max([self._longest.get(key, 0.0), *(now - b for b in self._since.get(key, {}).values())])


def _selector(service: Object) -> Set[tuple[str, str]]:
    return cast("Set[tuple[str, str]]", (service["spec"].get("selector") or {}).items())


def _ready(pods: list[Object], service: Object) -> frozenset[str]:
    wanted = _selector(service)
    chosen = [pod for pod in pods if wanted <= (pod["metadata"].get("labels") or {}).items()]
    # what is not ready may be listed all the same, where the Service asks for it: no lag is then seen
    unready = service["spec"].get("publishNotReadyAddresses", False)
    return frozenset(
        one["ip"]
        for pod in chosen
        if is_ready(pod) or (unready and not pod["metadata"].get("deletionTimestamp"))
        for one in pod["status"].get("podIPs") or ()
    ) & _of_family(service, chosen)


def _of_family(service: Object, pods: list[Object]) -> frozenset[str]:
    families = service["spec"].get("ipFamilies") or ["IPv4"]
    return frozenset(
        one["ip"]
        for pod in pods
        for one in pod.get("status", {}).get("podIPs") or ()
        if ("IPv6" if ":" in one["ip"] else "IPv4") in families
    )


def _listed(slices: list[Object], name: str) -> frozenset[str]:
    return frozenset(
        address
        for part in slices
        if service_of(part) == name
        for endpoint in part.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True)
        for address in endpoint["addresses"]
    )
