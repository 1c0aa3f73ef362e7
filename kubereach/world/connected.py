"""A run's hold on its cluster: requests to its API, facts of it, and a board of the run's own objects there."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from kubereach.kube.access import ClusterAccess
from kubereach.kube.client import Api, Object
from kubereach.kube.cluster import Cluster, inspect
from kubereach.kube.watch_cache import Board
from kubereach.model.errors import CannotMeasure
from kubereach.model.events import Bus, Changed, Progress
from kubereach.model.settings import Settings
from kubereach.preflight.review import review
from kubereach.preflight.rights import needed
from kubereach.probe.context import RunContext
from kubereach.probe.multiplexer import OVER
from kubereach.world.endpointslice_lag import SliceLag
from kubereach.world.load_balancer_own import SelfBalancer
from kubereach.world.namespaces import places
from kubereach.world.readiness import Readiness

#: letters that make no words and are hard to confuse, as Kubernetes' own generated names use them
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class Connected:
    """What all else of a run in a cluster stands on. Nothing of it changes the cluster."""

    def __init__(self, access: ClusterAccess, settings: Settings, bus: Bus) -> None:
        self._access = access
        self.run = "".join(secrets.choice(_LETTERS) for _ in range(5))
        self.context = RunContext(settings, bus, secrets.token_hex(8), secrets.token_hex(16))
        self.places = places(settings, self.run)
        self.namespace, self.other_namespace = self.places.services, self.places.other
        self.node_namespace = self.places.nodes
        self._api: Api | None = None
        #: the run has been taken down: checks that are still under way get nothing new
        self._over = False
        self._cluster: Cluster | None = None
        self._board: Board | None = None
        self.lag: SliceLag | None = None
        #: labels that Services have lent to pods: (namespace, pod, label) -> the Service's name
        self.lent: dict[tuple[str, str, str], str] = {}
        #: gives load-balancer addresses of our own
        self.balancer = SelfBalancer(settings)

    @property
    def api(self) -> Api:
        if self._api is None:
            if self._over:
                raise CannotMeasure(OVER)
            self._api = Api(self._access, self.context.settings.api_patience)
        return self._api

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            raise CannotMeasure("the cluster has not been looked at yet")
        return self._cluster

    @property
    def board(self) -> Board:
        if self._board is None:
            raise CannotMeasure("the world has not been started yet")
        return self._board

    def readiness(self, made: Iterable[Object] = ()) -> Readiness:
        """Judges the run's pods; those among `made` count even before the board has them."""
        return Readiness(self.board, self.api, made, patience=self.context.settings.scheduling_deadline)

    def connect(self) -> Cluster:
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

    def _say(self, text: str) -> None:
        self.context.bus.emit(Progress(text))

    def _note(self, action: str, obj: Object) -> None:
        meta = obj["metadata"]
        self.context.bus.emit(Changed(action, f"{obj['kind']} {meta.get('namespace', '')}/{meta['name']}"))
