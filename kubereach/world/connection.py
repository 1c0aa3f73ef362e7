"""A run's connection to its cluster: requests to its API, facts of it, and a cache of the run's own objects there."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from kubereach.kube.access import ClusterAccess
from kubereach.kube.client import Api, Object
from kubereach.kube.cluster import Cluster, inspect
from kubereach.kube.watch_cache import WatchCache
from kubereach.model.errors import CannotMeasure
from kubereach.model.events import Bus, Changed, Progress
from kubereach.model.settings import Settings
from kubereach.preflight.review import review
from kubereach.preflight.rights import needed
from kubereach.probe.context import RunContext
from kubereach.probe.multiplexer import OVER
from kubereach.world.endpointslice_lag import SliceLag
from kubereach.world.manifests import RUN
from kubereach.world.readiness import Readiness

#: letters that make no words and are hard to confuse, as Kubernetes' own generated names use them
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_NOT_STARTED = "the world has not been created yet"


class Connection:
    """What all else of a run in a cluster stands on. Nothing of it changes the cluster."""

    def __init__(self, access: ClusterAccess, settings: Settings, bus: Bus) -> None:
        self._access = access
        #: the run's name: the value of a label of all its objects, and part of its namespaces' names
        self.run = "".join(secrets.choice(_LETTERS) for _ in range(5))
        self.context = RunContext(settings, bus, secrets.token_hex(8), secrets.token_hex(16))
        self._api: Api | None = None
        self._ended = False
        self._cluster: Cluster | None = None
        self._watch_cache: WatchCache | None = None
        self._slice_lag: SliceLag | None = None
        #: labels that Services have lent to pods: (namespace, pod, label) -> the Service's name
        self.lent: dict[tuple[str, str, str], str] = {}

    @property
    def api(self) -> Api:
        """Raises `CannotMeasure` once the run has ended."""
        if self._api is None:
            if self._ended:
                raise CannotMeasure(OVER)
            self._api = Api(self._access, self.context.settings.api_patience)
        return self._api

    @property
    def cluster(self) -> Cluster:
        """Raises `CannotMeasure` before `open`."""
        if self._cluster is None:
            raise CannotMeasure("the run has not read the cluster yet")
        return self._cluster

    @cluster.setter
    def cluster(self, found: Cluster) -> None:
        self._cluster = found

    @property
    def watch_cache(self) -> WatchCache:
        """The run's objects as watches have last shown them. Raises `CannotMeasure` before `watch`."""
        if self._watch_cache is None:
            raise CannotMeasure(_NOT_STARTED)
        return self._watch_cache

    @property
    def slice_lag(self) -> SliceLag:
        """How long EndpointSlices have taken to follow the run's pods. Raises `CannotMeasure` before `watch`."""
        if self._slice_lag is None:
            raise CannotMeasure(_NOT_STARTED)
        return self._slice_lag

    def open(self) -> Cluster:
        """Facts only, and whether we may do what a run does; changes nothing.

        Raises `CannotMeasure` or `UsageError` with a one-line remedy.
        """
        api, settings = self.api, self.context.settings
        with api.threads(2) as pool:
            may = pool.submit(review, api, needed(settings))
            found = pool.submit(inspect, api, settings)
        may.result()  # its words say more than those of the first request that is refused
        self._cluster = found.result()
        self.context.version = self._cluster.version
        self.context.ip_version = self._cluster.ip_version
        return self._cluster

    def watch(self) -> WatchCache:
        """Make the cache of the run's objects, which follows nothing yet."""
        self._watch_cache = WatchCache(self.api, f"{RUN}={self.run}", self.context.settings.watch_patience)
        self._slice_lag = SliceLag(self._watch_cache)
        self._watch_cache.noticed = self._slice_lag.noticed
        return self._watch_cache

    def readiness(self, made: Iterable[Object] = ()) -> Readiness:
        """Judges the run's pods; those among `made` count even before a watch has shown them."""
        return Readiness(self.watch_cache, self.api, made, patience=self.context.settings.scheduling_deadline)

    def progress(self, text: str) -> None:
        """Tell whoever follows the run what it does now."""
        self.context.bus.emit(Progress(text))

    def changed(self, action: str, kind: str, namespace: str, name: str) -> None:
        """Tell whoever follows the run which object it has changed just now, and how."""
        self.context.bus.emit(Changed(action, f"{kind} {namespace}/{name}"))

    def end(self) -> None:
        """Checks that are still under way get no connection to the API any more, once it is closed."""
        self._ended = True

    def stop_watching(self) -> None:
        """Who waits for an object gets `CannotMeasure`."""
        if self._watch_cache is not None:
            self._watch_cache.stop()

    def close(self) -> None:
        """Close the connections to the API; may be called twice."""
        if self._api is not None:
            self._api.close()
            self._api = None
