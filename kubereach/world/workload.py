"""The Deployment or StatefulSet behind a Service: rolled out, scaled, its pods replaced or told to end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from kubereach.kube.client import Object, path_of
from kubereach.kube.endpointslices import service_of
from kubereach.kube.watch_cache import is_ready
from kubereach.model.convergence import ENDPOINTS
from kubereach.model.errors import CannotMeasure
from kubereach.model.events import Changed
from kubereach.probe import Series

if TYPE_CHECKING:
    from kubereach.world.service import Service
    from kubereach.world.vantages import Vantages

#: the port on which our backends take HTTP, see manifests/backend.yaml
HTTP = 8080
#: annotation of the pods' template, changed to have them all replaced
_REVISION = "kubereach.io/revision"


class Workload:
    """What makes a Service's pods: they have the label ``app`` that it selects by, or else its name.

    Each method waits until what it asked for is so. Raises `CannotMeasure` as soon as it is clear that a pod cannot
    start, or when it takes longer than ``settings.world_deadline`` seconds.
    """

    def __init__(self, world: Vantages, service: Service) -> None:
        self._world = world
        self._service = service

    @property
    def pods(self) -> list[Object]:
        """Its pods, those that are on their way out included."""
        app = self._service.selector.get("app", self._service.name)
        return [
            pod
            for pod in self._world.board.all("Pod", self._service.namespace)
            if (pod["metadata"].get("labels") or {}).get("app") == app
        ]

    def scale(self, replicas: int) -> None:
        """Scale it until just so many pods are ready; others may still be on their way out."""
        self._patch({"spec": {"replicas": replicas}})
        self._await(lambda: sum(map(is_ready, self.pods)) == replicas, f"{replicas} ready pods")

    def roll_out(self) -> None:
        """Change its template, until all pods are new ones and the old ones have gone."""
        old = {pod["metadata"]["uid"] for pod in self.pods}
        template = {"metadata": {"annotations": {_REVISION: str(self._world.run)}}}
        self._patch({"spec": {"template": template}})

        def rolled_out() -> bool:
            now = self.pods
            return all(is_ready(pod) for pod in now) and not old & {p["metadata"]["uid"] for p in now}

        self._await(rolled_out, "end of the rolling update")

    def end_all(self) -> frozenset[str]:
        """Scale it to nothing, until all its pods are on their way out and EndpointSlices call none of them ready.

        Gives those that are still there. EndpointSlices that go on to call them ready are waited for no longer than
        ``settings.converge_deadline`` seconds: what comes of them is for the check to see.
        """
        self._patch({"spec": {"replicas": 0}})

        def ending() -> bool:
            return all(pod["metadata"].get("deletionTimestamp") for pod in self.pods)

        self._await(ending, "end of all pods")
        self._world.board.wait(
            lambda: not self._called_ready(), self._world.context.settings.converge_deadline
        )
        return frozenset(pod["metadata"]["name"] for pod in self.pods)

    def _called_ready(self) -> bool:
        """Whether an EndpointSlice of the Service says that one of its endpoints is ready."""
        return any(
            (endpoint.get("conditions") or {}).get("ready") is not False
            for part in self._world.board.all("EndpointSlice", self._service.namespace)
            if service_of(part) == self._service.name
            for endpoint in part.get("endpoints") or ()
        )

    def kill(self) -> None:
        """Delete its pods without more of a grace period, until none of them is there any more.

        They are told to end by themselves too: not every kubelet shortens a grace period that has begun.
        """
        end = Series("ready", port=HTTP, secret=self._world.context.secret, more={"end": True})
        for vantage in self._service.own_pods(*(pod["metadata"]["name"] for pod in self.pods)):
            with contextlib.suppress(CannotMeasure):  # one that has gone already
                vantage.run(end)
        for pod in self.pods:
            namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
            self._world.api.delete(path_of(("v1", "Pod"), namespace, name), gracePeriodSeconds=1)
            self._world.context.bus.emit(Changed("delete", f"Pod {namespace}/{name}"))
        self._await(lambda: not self.pods, "end of the last pod")

    def replace(self, *names: str) -> frozenset[str]:
        """Delete its pods, or those named, until as many others are ready and they have gone; gives those that serve.

        A pod of a StatefulSet is replaced by one of the same name.
        """
        before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.pods}
        old = {before[name] for name in names or before}
        for name in names or before:
            self._world.api.delete(path_of(("v1", "Pod"), self._service.namespace, name))
            self._world.context.bus.emit(Changed("delete", f"Pod {self._service.namespace}/{name}"))

        def replaced() -> bool:
            now = {pod["metadata"]["uid"]: is_ready(pod) for pod in self.pods}
            return sum(now.values()) == len(before) and not old & now.keys()

        self._await(replaced, "replacement of deleted pods")
        return self._service.endpoints

    def _patch(self, change: Object) -> None:
        namespace, name = self._service.namespace, self._service.name
        self._world.api.patch(path_of(("apps/v1", "Deployment"), namespace, name), change)
        self._world.context.bus.emit(Changed("patch", f"Deployment {namespace}/{name}"))

    def _await(self, done: Callable[[], bool], what: str) -> None:
        limit = self._world.context.settings.world_deadline
        if not self._world.readiness().wait(done, limit):
            raise CannotMeasure(
                f"no {what} of {self._service.name} within {limit:.0f} s", "See `kubectl get pods`."
            )
        self._service.changed(ENDPOINTS)
