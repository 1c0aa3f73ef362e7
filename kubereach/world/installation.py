"""What a run installs in its cluster: applied in one batch, kept from being taken for a dead run's, and removed."""

from __future__ import annotations

from pathlib import Path

from kubereach.kube.client import Object
from kubereach.preflight.admission import admit
from kubereach.preflight.pull_secret import copies
from kubereach.world.cleanup import clear, remove_run
from kubereach.world.connection import Connection
from kubereach.world.deletion import delete_namespaces, not_removed
from kubereach.world.heartbeat import Leftovers, Renewal, release
from kubereach.world.manifests import BASE, FIRST, Manifest
from kubereach.world.namespaces import Namespaces
from kubereach.world.objects import Objects
from kubereach.world.readiness import Readiness
from kubereach.world.run_manifests import RunManifests
from kubereach.world.services import Services

_FOLLOWED = (
    "/api/v1/pods",
    "/api/v1/services",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/deployments",
)
#: kinds of objects that others need to exist, in the order in which they are made
_FIRST_KINDS = (("Namespace",), ("Secret",), ("ServiceAccount", "ConfigMap"))


class Installation:
    """`apply` once, then `stop` and `remove`, each of which may be called without it and again.

    A `disposable` cluster is left as it is: it goes itself.
    """

    def __init__(
        self,
        connection: Connection,
        namespaces: Namespaces,
        manifests: RunManifests,
        objects: Objects,
        services: Services,
        disposable: bool,
    ) -> None:
        self._connection = connection
        self._settings = connection.context.settings
        self._namespaces = namespaces
        self._manifests = manifests
        self._objects = objects
        self._services = services
        self._disposable = disposable
        self._renewal: Renewal | None = None
        self._leftovers: Leftovers | None = None
        #: there may be objects of ours in the cluster
        self._touched = False

    def apply(self) -> Readiness:
        """Create all objects, as many at the same time as can be; gives what judges their pods.

        Raises `CannotMeasure` where the API server refuses one, `UsageError` for a malformed manifest.
        """
        connection, api = self._connection, self._connection.api
        first, rest = (
            self._namespaces.fitting([m for file in files for m in self._manifests.base(file)])
            for files in (FIRST, BASE)
        )
        first += self._copied_secrets()
        shared = self._services.manifests()
        forbidden: dict[tuple[str, str], str] = {}
        if self._namespaces.given:
            clear(api, self._namespaces.all, self._settings.stop_deadline)
            everything = [m.obj for m in rest] + [m.obj for some in shared.values() for m in some]
            forbidden = admit(api, everything, len(connection.cluster.nodes))
            rest = [manifest for manifest in rest if manifest.place not in forbidden]
        else:
            self._leftovers = Leftovers(api)
        connection.progress(f"applying {len(first) + len(rest) + sum(map(len, shared.values()))} objects")
        watch_cache = connection.watch()
        with api.threads(8) as pool:
            followed = [
                pool.submit(watch_cache.follow, path) for path in self._namespaces.collections(_FOLLOWED)
            ]
            self._touched = True
            for kinds in _FIRST_KINDS:
                list(pool.map(self._objects.create, [m for m in first if m.kind in kinds]))
            self._renewal = Renewal(api, self._namespaces.alive)
            if not (self._namespaces.given or self._disposable):
                # before controllers find out, and tell nobody but by events
                forbidden = admit(api, [m.obj for m in rest], len(connection.cluster.nodes), accounts=True)
                rest = [manifest for manifest in rest if manifest.place not in forbidden]
            created = {
                stem: [pool.submit(self._objects.create, manifest) for manifest in manifests]
                for stem, manifests in shared.items()
            }
            made = list(pool.map(self._objects.create, rest))
            for stem, futures in created.items():
                own = [future.result() for future in futures]
                self._services.add(stem, own, shared[stem])
                made += own
            for future in followed:
                future.result()
        readiness = connection.readiness(made)
        readiness.forbidden.update(forbidden)
        return readiness

    def _copied_secrets(self) -> list[Manifest]:
        """The pull secret, for namespaces that are the run's own."""
        secret = self._settings.pull_secret
        if not secret[1] or self._namespaces.given:
            return []
        found: list[Object] = copies(
            self._connection.api, secret, self._namespaces.all, self._manifests.labels
        )
        return [Manifest(obj, Path("--image-pull-secret"), 1) for obj in found]

    def stop(self) -> None:
        """Nothing is renewed any more, and dead runs are left to the next one."""
        for helper in (self._renewal, self._leftovers):
            if helper is not None:
                helper.stop()
        self._renewal = self._leftovers = None

    def abandon(self) -> None:
        """Leave what is installed where it is."""
        self._touched = False

    def remove(self) -> None:
        """Remove what this run made, or let go of it if it is to be kept. Raises `CannotMeasure` for what is left."""
        try:
            if self._touched and not self._disposable:
                self._remove()
        finally:
            self._touched = False

    def _remove(self) -> None:
        connection, limit = self._connection, self._settings.stop_deadline
        # checks may still be under way: what they create from now on nobody would find
        connection.api.end_creation(limit)
        if self._settings.keep:
            release(connection.api, self._namespaces.alive)
            return
        connection.progress("deleting the run's objects")
        if self._namespaces.given:
            left = remove_run(connection.api, self._namespaces.all, connection.run, limit)
        else:
            ending = [
                pod for pod in connection.watch_cache.all("Pod") if pod["metadata"].get("deletionTimestamp")
            ]
            left = delete_namespaces(connection.api, connection.run, ending, limit)
        if left:
            error = not_removed(left, limit)
            connection.progress(error.message)
            raise error
