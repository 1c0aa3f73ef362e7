"""The world of a run: everything of it in the cluster, and its life from the first request to the last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from kubereach.kube.access import ClusterAccess
from kubereach.kube.client import ApiError, Object
from kubereach.kube.cluster_dns import Resolving, as_pods_have_it
from kubereach.kube.service_proxy import Proxies
from kubereach.kube.watch_cache import Board, is_ready
from kubereach.model.errors import CannotMeasure
from kubereach.model.events import Bus, Changed, ClusterKnown, Told, WorldReady
from kubereach.model.outcome import OK
from kubereach.model.settings import Settings
from kubereach.preflight.admission import admit
from kubereach.preflight.pull_secret import copies
from kubereach.probe import Series, Vantage
from kubereach.probe.group import run_all
from kubereach.probe.suspension import WATCH
from kubereach.world.cleanup import clear, remove_run
from kubereach.world.deletion import delete_all, name_of, not_removed, stuck
from kubereach.world.endpointslice_lag import SliceLag
from kubereach.world.heartbeat import NAMESPACES, Leftovers, Renewal, release
from kubereach.world.manifests import BASE, FIRST, MANAGED_BY, RUN, Manifest
from kubereach.world.objects import Objects
from kubereach.world.readiness import Readiness
from kubereach.world.renewal import renew
from kubereach.world.sidecars import note
from kubereach.world.unallocated import Unallocated

_FOLLOWED = (
    "/api/v1/pods",
    "/api/v1/services",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/deployments",
)


class World(Objects):
    """Everything of one run that is in the cluster. `connect`, `start`, `stop`, in this order; `stop` always works.

    `manifests` is the folder; `services` are the stems of manifests/services/*.yaml that the selected checks use.
    """

    def __init__(
        self, access: ClusterAccess, settings: Settings, bus: Bus, manifests: Path, services: Sequence[str]
    ) -> None:
        super().__init__(access, settings, bus, manifests, services)
        self._renewal: Renewal | None = None
        self._leftovers: Leftovers | None = None
        self._touched = False

    # start

    def start(self) -> None:
        """Apply everything, wait until every pod is ready, open the vantages.

        Raises `CannotMeasure` as soon as it is clear that a pod cannot start, `UsageError` for a malformed manifest.
        """
        begun = time.monotonic()
        WATCH.start()
        first, rest = (
            self.places.fitting([m for file in files for m in self._render(self.manifests / file)])
            for files in (FIRST, BASE)
        )
        secret = self.context.settings.pull_secret
        if secret[1] and not self.places.given:
            labels = {MANAGED_BY: "kubereach", RUN: self.run}
            found = copies(self.api, secret, self.places.all, labels)
            first += [Manifest(obj, Path("--image-pull-secret"), 1) for obj in found]
        by_stem = self._by_stem()
        forbidden: dict[tuple[str, str], str] = {}
        if self.places.given:
            clear(self.api, self.places.all, self.context.settings.stop_deadline)
            everything = [m.obj for m in rest] + [m.obj for some in by_stem.values() for m in some]
            forbidden = admit(self.api, everything, len(self.cluster.nodes))
            rest = [manifest for manifest in rest if manifest.place not in forbidden]
        else:
            self._leftovers = Leftovers(self.api)
        self._say(f"applying {len(first) + len(rest) + sum(map(len, by_stem.values()))} objects")
        self._board = Board(self.api, f"{RUN}={self.run}", self.context.settings.watch_patience)
        self.lag = SliceLag(self._board)
        self._board.noticed = self.lag.noticed
        with self.api.threads(8) as pool:
            paths = self.places.collections(_FOLLOWED)
            followed = [pool.submit(self._board.follow, path) for path in paths]
            self._touched = True
            kinds = ("Namespace", "Secret", "ServiceAccount ConfigMap")
            for kind in kinds:
                list(pool.map(self._create, [m for m in first if m.kind in kind]))
            self._renewal = Renewal(self.api, self.places.alive)
            if not (self.places.given or self._access.disposable):
                # before controllers find out, and tell nobody but by events
                bases = [m.obj for m in rest]
                forbidden = admit(self.api, bases, len(self.cluster.nodes), accounts=True)
                rest = [manifest for manifest in rest if manifest.place not in forbidden]
            created = {
                stem: [pool.submit(self._create, m) for m in manifests] for stem, manifests in by_stem.items()
            }
            made = list(pool.map(self._create, rest))
            for stem, futures in created.items():
                own = [future.result() for future in futures]
                self._services[stem] = self._handle(own, by_stem[stem])
                made += own
            for future in followed:
                future.result()
        readiness = self._await_pods(made, forbidden)
        self._open_vantages(readiness)
        self._ask_pods_for_dns()
        self.context.settled = time.monotonic() + self.context.settings.settle_deadline
        self.context.younger = self.younger
        self.context.unallocated = Unallocated(self.api, self.cluster).of
        self.context.proxy_on = Proxies(self.api, self._proxy_mode).on
        for service in self._services.values():
            service.settled = self.context.settled
        pods = len(self.board.all("Pod"))
        outsides: Sequence[Vantage] = ()
        if isinstance(self.outside, Vantage):
            outsides = (self.outside,)
        elif len(self.outside):
            outsides = self.outside
        others = () if self.places.no_other else self.other_pods
        everyone = (*self.pods, *others, *(() if readiness.forbidden else self.nodes), *outsides)
        if injected := note(self.board.all("Pod")):
            self.context.bus.emit(Told("", injected))
        ready = WorldReady(time.monotonic() - begun, pods, tuple(vantage.name for vantage in everyone))
        self.context.bus.emit(ready)

    def _ask_pods_for_dns(self) -> None:
        """Take the cluster's domain and DNS Service from what pods have; what was rendered with others is corrected."""
        before = self.cluster
        wanted = [(vantage, Series("file", more={"path": "/etc/resolv.conf"})) for vantage in self.pods]
        results = run_all(wanted)
        files = [
            (vantage.namespace, result.probes[0].answer.detail)
            for (vantage, _), result in zip(wanted, results, strict=True)
            if result.probes[0].answer.outcome == OK
        ]
        idea = Resolving(before.domain, before.dns, before.domain_source)
        try:
            found = as_pods_have_it(self.api, self.context.settings, idea, files)
        except ApiError as error:
            raise CannotMeasure(f"the cluster's DNS Service cannot be looked up: {error}") from error
        if (found.domain, found.dns, found.notes) == (before.domain, before.dns, ()):
            return
        old = {stem: [m.obj for m in manifests] for stem, manifests in self._by_stem().items()}
        self._cluster = before.resolving(found)
        for stem, manifests in self._by_stem().items():
            for manifest, obj in zip(manifests, old[stem], strict=True):
                if manifest.kind == "Service" and manifest.obj != obj:
                    self._services[stem].patch({"spec": manifest.obj["spec"]})
        self.context.bus.emit(ClusterKnown(self.cluster.describe()))

    def _await_pods(self, made: Sequence[Object], forbidden: dict[tuple[str, str], str]) -> Readiness:
        readiness = self.readiness(made)
        readiness.forbidden.update(forbidden)
        said = [(-1, -1)]

        def done() -> bool:
            ready, wanted = readiness.counts()
            if (ready, wanted) != said[0]:
                said[0] = (ready, wanted)
                self._say(f"waiting for {wanted} pods: {ready} ready")
            return ready >= wanted > 0

        limit = self.context.settings.world_deadline
        if not readiness.wait(done, limit):
            if unseen := readiness.unseen():
                raise CannotMeasure(
                    f"no controller has looked at {', '.join(unseen)} for {limit:.0f} s",
                    "Is kube-controller-manager at work? See `kubectl -n kube-system get pods,leases`.",
                )
            missing = [p["metadata"]["name"] for p in self.board.all("Pod") if not is_ready(p)]
            ready, wanted = said[0]
            raise CannotMeasure(
                f"{ready} of {wanted} pods are ready after {limit:.0f} s; waiting for {', '.join(missing)}",
                "See `kubectl describe pod`; a slow image pull may take --set world_deadline=600.",
            )
        return readiness

    # stop

    def stop(self) -> None:
        """Close the vantages, delete the run's namespaces, wait until they are gone (bounded). May be called twice.

        A disposable cluster is left as it is: it goes itself. Raises `CannotMeasure` for what is left, with reasons.
        """
        self._over = True
        WATCH.stop()
        if self._wire is not None:
            self._wire.stop()
            self._wire = None
        for helper in (self._renewal, self._leftovers):
            if helper is not None:
                helper.stop()
        self._renewal = self._leftovers = None
        if self._board is not None:
            self._board.stop()
        try:
            if self._touched and not self._access.disposable:
                self._remove()
        finally:
            self._touched = False
            if self._api is not None:
                self._api.close()
                self._api = None

    def _remove(self) -> None:
        """Remove what this run made, or let go of it if it is to be kept."""
        limit = self.context.settings.stop_deadline
        # checks may still be under way: what they create from now on nobody would find
        self.api.end_creation(limit)
        if self.context.settings.keep:
            release(self.api, self.places.alive)
            return
        self._say("removing what this run made")
        left = (
            remove_run(self.api, self.places.all, self.run, limit)
            if self.places.given
            else self._delete_namespaces(limit)
        )
        if left:
            error = not_removed(left, limit)
            self._say(error.message)
            raise error

    def renew(self, changes: Sequence[Changed]) -> str:
        """Have the cluster as it was before these changes of a check, see `kubereach.world.renewal`."""
        return renew(self, changes)

    def abandon(self) -> None:
        """Close the vantages without asking the cluster for anything: it is gone, and our objects with it."""
        self._touched = False
        self.stop()

    def _delete_namespaces(self, limit: float) -> list[str]:
        """Delete the run's namespaces; gives those that are left after `limit` seconds, with the reasons."""
        ending = [pod for pod in self.board.all("Pod") if pod["metadata"].get("deletionTimestamp")]
        # a check that was interrupted may have told them to take their time
        delete_all(self.api, [{"apiVersion": "v1", **pod} for pod in ending], gracePeriodSeconds=1)
        board = Board(self.api, f"{RUN}={self.run}")
        board.follow(NAMESPACES)
        try:
            failures = delete_all(self.api, board.all("Namespace"))
            # those that were refused stay anyway
            board.wait(lambda: len(board.all("Namespace")) <= len(failures), limit)
        finally:
            board.stop()
        refused = {failure.partition(" (")[0] for failure in failures}
        return failures + [stuck(one) for one in board.all("Namespace") if name_of(one) not in refused]
