"""The world of a run: everything of it in the cluster, and its life from the first request to the last."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from kubereach.kube.access import ClusterAccess
from kubereach.kube.client import Api
from kubereach.kube.cluster import Cluster
from kubereach.kube.ranges import documentation_address
from kubereach.kube.service_proxy import Proxies
from kubereach.kube.watch_cache import WatchCache
from kubereach.model.events import Bus, Changed, ClusterKnown, Note, WorldReady
from kubereach.model.settings import Settings
from kubereach.probe import Vantage, VantageGroup
from kubereach.probe.suspension import WATCH
from kubereach.world import namespaces, pods_dns, sidecars
from kubereach.world.connection import Connection
from kubereach.world.endpointslice_lag import SliceLag
from kubereach.world.installation import Installation
from kubereach.world.load_balancer_own import SelfBalancer
from kubereach.world.objects import Objects
from kubereach.world.ports import Ports
from kubereach.world.renewal import renew
from kubereach.world.run_manifests import RunManifests
from kubereach.world.service import Service
from kubereach.world.service_group import ServiceGroup
from kubereach.world.services import Services
from kubereach.world.unallocated import Unallocated
from kubereach.world.vantages import Vantages


class World:
    """Everything of one run that is in the cluster. `connect`, `start`, `stop`, in this order; `stop` always works.

    `manifests` is the folder; `services` are the stems of manifests/services/*.yaml that the selected checks use.
    """

    def __init__(
        self, access: ClusterAccess, settings: Settings, bus: Bus, manifests: Path, services: Sequence[str]
    ) -> None:
        self._connection = connection = Connection(access, settings, bus)
        self.context = connection.context
        self.namespaces = namespaces.of_run(settings, connection.run)
        self.manifests = RunManifests(connection, self.namespaces, manifests)
        self.objects = Objects(connection, self.namespaces, SelfBalancer(settings))
        self.vantages = Vantages(connection, self.namespaces, access)
        self.services = Services(
            connection, self.namespaces, self.manifests, self.objects, self.vantages, services
        )
        self.ports = Ports(connection, self.services)
        self._installation = Installation(
            connection, self.namespaces, self.manifests, self.objects, self.services, access.disposable
        )

    # what checks and the diagnosis look for first

    @property
    def api(self) -> Api:
        return self._connection.api

    @property
    def cluster(self) -> Cluster:
        return self._connection.cluster

    @property
    def watch_cache(self) -> WatchCache:
        """The run's objects as watches have last shown them."""
        return self._connection.watch_cache

    @property
    def slice_lag(self) -> SliceLag:
        """How long EndpointSlices have taken to follow the run's pods."""
        return self._connection.slice_lag

    @property
    def pods(self) -> VantageGroup:
        return self.vantages.pods

    @property
    def other_pods(self) -> VantageGroup:
        return self.vantages.other_pods

    @property
    def nodes(self) -> VantageGroup:
        return self.vantages.nodes

    @property
    def outside(self) -> Vantage | VantageGroup:
        return self.vantages.outside

    def service(self, stem: str) -> Service:
        """The Service of manifests/services/<stem>.yaml. Raises `UsageError` for one that was not asked for."""
        return self.services.shared(stem)

    def create(self, stem: str, **variables: object) -> AbstractContextManager[Service]:
        """A Service of manifests/temporary/<stem>.yaml, with its pods, for as long as the block runs."""
        return self.services.create(stem, **variables)

    def create_group(
        self, stem: str, count: int, *, name: str, **variables: object
    ) -> AbstractContextManager[ServiceGroup]:
        """So many of them, called name-1 and on, that select the same pods."""
        return self.services.create_group(stem, count, name=name, **variables)

    @property
    def drain(self) -> int:
        """Seconds that a pod waits before it ends so that every service proxy has stopped to use it.

        Three at least, and three times as long as the slowest change that this run has seen: what is enough depends on
        the cluster. At most ``converge_deadline``, within which a change must have been followed.
        """
        measured = math.ceil(3 * self.context.followed)
        return min(max(3, measured), max(3, int(self.context.settings.converge_deadline)))

    @property
    def external_ip(self) -> str:
        """An address that is nobody's.

        Another run at the same time may have taken it: the ports of the two Services differ.
        """
        number = int.from_bytes(self._connection.run.encode(), "big")
        return documentation_address(self.cluster.ip_version, number)

    # start

    def connect(self) -> Cluster:
        """Facts only, and whether we may do what a run does; changes nothing.

        Raises `CannotMeasure` or `UsageError` with a one-line remedy.
        """
        return self._connection.open()

    def start(self) -> None:
        """Apply everything, wait until every pod is ready, open the vantages.

        Raises `CannotMeasure` as soon as it is clear that a pod cannot start, `UsageError` for a malformed manifest.
        """
        begun = time.monotonic()
        WATCH.start()
        readiness = self._installation.apply()
        readiness.wait_for_all(self.context.settings.world_deadline, self._connection.progress)
        self.vantages.open(readiness.forbidden)
        self._take_dns_from_pods()
        self._complete_context()
        pods = self.watch_cache.all("Pod")
        if injected := sidecars.injection_note(pods):
            self.context.bus.emit(Note("", injected))
        names = tuple(vantage.name for vantage in self.vantages.all)
        self.context.bus.emit(WorldReady(time.monotonic() - begun, len(pods), names))

    def _take_dns_from_pods(self) -> None:
        """Take the cluster's domain and DNS Service from what pods have; what was rendered with others is corrected."""
        found = pods_dns.corrected(self._connection, self.vantages.pods)
        if found is None:
            return
        before = self.services.manifests()
        self._connection.cluster = found
        self.services.correct(before)
        self.context.bus.emit(ClusterKnown(found.describe()))

    def _complete_context(self) -> None:
        """Give expectations what they ask of a world that has started."""
        context = self.context
        context.settled = time.monotonic() + context.settings.settle_deadline
        context.younger = self.services.create_younger
        context.unallocated = Unallocated(self.api, self.cluster).of
        context.proxy_on = Proxies(self.api, self.vantages.proxy_mode).on
        self.services.settle(context.settled)

    # stop

    def stop(self) -> None:
        """Close the vantages, delete the run's namespaces, wait until they are gone (bounded). May be called twice.

        A disposable cluster is left as it is: it goes itself. Raises `CannotMeasure` for what is left, with reasons.
        """
        self._connection.end()
        WATCH.stop()
        self.vantages.close()
        self._installation.stop()
        self._connection.stop_watching()
        try:
            self._installation.remove()
        finally:
            self._connection.close()

    @property
    def lent(self) -> dict[tuple[str, str, str], str]:
        """Labels that Services have lent to pods: (namespace, pod, label) -> the Service's name."""
        return self._connection.lent

    def renew(self, changes: Sequence[Changed]) -> str:
        """Have the cluster as it was before these changes of a check, see `kubereach.world.renewal`."""
        return renew(self, changes)

    def abandon(self) -> None:
        """Close the vantages without asking the cluster for anything: it is gone, and our objects with it."""
        self._installation.abandon()
        self.stop()
