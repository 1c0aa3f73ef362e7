"""The objects of a run: created, changed and deleted in its cluster, and refused where they must be."""

from __future__ import annotations

from dataclasses import dataclass

from kubereach.kube.client import ApiError, Object, object_path
from kubereach.model.errors import CannotMeasure, Unsupported, UsageError
from kubereach.preflight.admission import remedy
from kubereach.world.connection import Connection
from kubereach.world.heartbeat import renewed
from kubereach.world.load_balancer_own import SelfBalancer
from kubereach.world.manifests import Manifest
from kubereach.world.namespaces import Namespaces


@dataclass(frozen=True)
class Refusal:
    """What the API server said to an object that it was not to take."""

    status: int
    message: str


class Objects:
    """Each is written at once, and reports are told of it where a check does it."""

    def __init__(self, connection: Connection, namespaces: Namespaces, balancer: SelfBalancer) -> None:
        self._connection = connection
        self._namespaces = namespaces
        #: gives load-balancer addresses of our own
        self.balancer = balancer

    def create(self, manifest: Manifest) -> Object:
        """Raises `Unsupported`, `UsageError` or `CannotMeasure` when the API server refuses it."""
        obj = manifest.obj
        given = self._namespaces.given and manifest.kind == "ConfigMap"  # which says there that the run lives
        if manifest.kind == "Namespace" or given:
            obj = {**obj, "metadata": {**obj["metadata"], **renewed()["metadata"]}}
        try:
            with self.balancer.guard(obj):
                created = self._connection.api.create(self.balancer.claimed(obj))
            if manifest.kind == "Service":
                self.balancer.serve(self._connection.api, created)
            return created
        except ApiError as error:
            if error.status == 403 and "externalips" in error.message.replace(" ", "").lower():
                raise Unsupported(f"the cluster does not allow externalIPs: {error.message}") from error
            if error.status in (400, 422):
                raise UsageError(f"{manifest}: {error.message}", "Correct the manifest.") from error
            raise CannotMeasure(
                f"cannot create {manifest.kind} {obj['metadata']['name']}: {error.message or error.reason}",
                _remedy(obj, error),
            ) from error

    def refusal(self, manifest: Manifest) -> Refusal | None:
        """What the API server says to an object that it must refuse; None when it takes it, which is then deleted."""
        api = self._connection.api
        try:
            created = api.create(manifest.obj)
        except ApiError as error:
            return Refusal(error.status, error.message)
        api.delete(object_path(created))
        return None

    def patch(self, obj: Object, change: Object) -> None:
        """Change an object by a merge patch, and report it."""
        with self.balancer.guard(change):
            patched = self._connection.api.patch(object_path(obj), self.balancer.claimed(change))
        self.balancer.serve(self._connection.api, patched)
        self.report("patch", obj)

    def delete(self, obj: Object, **options: object) -> None:
        """Begin to delete an object, and report it; `options` are those of the request."""
        self._connection.api.delete(object_path(obj), **options)
        self.report("delete", obj)

    def report(self, action: str, obj: Object) -> None:
        """Tell whoever follows the run what was done to an object."""
        meta = obj["metadata"]
        self._connection.changed(action, obj["kind"], meta.get("namespace", ""), meta["name"])


def _remedy(obj: Object, error: ApiError) -> str:
    """What to do about an object that the API server does not take."""
    if error.status != 403:
        return "Correct what the message names."
    if " cannot create resource " in error.message:
        return "Ask an administrator to run: kubereach rbac [--user NAME] | kubectl apply -f -"
    return remedy(str(obj["metadata"].get("namespace", "")), error.message)
