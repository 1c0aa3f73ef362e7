"""The Deployment or StatefulSet behind a Service: rolled out, scaled, its pods replaced or told to end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from kubereach.kube.client import Object, path_of
from kubereach.kube.endpointslices import belonging_to, is_called_ready
from kubereach.kube.watch_cache import is_ready
from kubereach.model.convergence import ENDPOINTS
from kubereach.model.errors import CannotMeasure
from kubereach.probe import Series
from kubereach.world.connection import Connection
from kubereach.world.last_change import LastChange
from kubereach.world.service_object import ServiceObject
from kubereach.world.service_pods import HTTP, ServicePods
from kubereach.world.service_spec import ServiceSpec

#: annotation of the pods' template, changed to have them all replaced
_REVISION = "kubereach.io/revision"


class Workload:
    """What makes a Service's pods: they have the label ``app`` that it selects by, or else its name.

    Each method waits until what it asked for is so. Raises `CannotMeasure` as soon as it is clear that a pod cannot
    start, or when it takes longer than ``settings.world_deadline`` seconds.
    """

    def __init__(
        self,
        connection: Connection,
        obj: ServiceObject,
        spec: ServiceSpec,
        pods: ServicePods,
        last_change: LastChange,
    ) -> None:
        self._connection = connection
        self._object = obj
        self._spec = spec
        self._pods = pods
        self._last_change = last_change

    @property
    def pods(self) -> list[Object]:
        """Its pods, those that are on their way out included."""
        app = self._spec.selector.get("app", self._object.name)
        return [
            pod
            for pod in self._connection.watch_cache.all("Pod", self._object.namespace)
            if (pod["metadata"].get("labels") or {}).get("app") == app
        ]

    def scale(self, replicas: int) -> None:
        """Scale it until just so many pods are ready; others may still be on their way out."""
        self._patch({"spec": {"replicas": replicas}})
        self._await(lambda: sum(map(is_ready, self.pods)) == replicas, f"{replicas} ready pods")

    def roll_out(self) -> None:
        """Change its template, until all pods are new ones and the old ones have gone."""
        old = {pod["metadata"]["uid"] for pod in self.pods}
        template = {"metadata": {"annotations": {_REVISION: str(self._connection.run)}}}
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
        self._connection.watch_cache.wait(
            lambda: not self._called_ready(), self._connection.context.settings.converge_deadline
        )
        return frozenset(pod["metadata"]["name"] for pod in self.pods)

    def _called_ready(self) -> bool:
        """Whether an EndpointSlice of the Service says that one of its endpoints is ready."""
        slices = self._connection.watch_cache.all("EndpointSlice", self._object.namespace)
        return any(
            is_called_ready(endpoint)
            for part in belonging_to(self._object.name, slices)
            for endpoint in part.get("endpoints") or ()
        )

    def kill(self) -> None:
        """Delete its pods without more of a grace period, until none of them is there any more.

        They are told to end by themselves too: not every kubelet shortens a grace period that has begun.
        """
        end = Series("ready", port=HTTP, secret=self._connection.context.secret, more={"end": True})
        for vantage in self._pods.vantages(pod["metadata"]["name"] for pod in self.pods):
            with contextlib.suppress(CannotMeasure):  # one that has gone already
                vantage.run(end)
        for pod in self.pods:
            namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
            self._connection.api.delete(path_of(("v1", "Pod"), namespace, name), gracePeriodSeconds=1)
            self._connection.changed("delete", "Pod", namespace, name)
        self._await(lambda: not self.pods, "end of the last pod")

    def replace(self, *names: str) -> frozenset[str]:
        """Delete its pods, or those named, until as many others are ready and they have gone; gives those that serve.

        A pod of a StatefulSet is replaced by one of the same name.
        """
        before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.pods}
        old = {before[name] for name in names or before}
        # whoever was on its way out, or not ready, is not waited for
        ready = sum(is_ready(pod) for pod in self.pods if not pod["metadata"].get("deletionTimestamp"))
        for name in names or before:
            self._connection.api.delete(path_of(("v1", "Pod"), self._object.namespace, name))
            self._connection.changed("delete", "Pod", self._object.namespace, name)

        def replaced() -> bool:
            now = {pod["metadata"]["uid"]: is_ready(pod) for pod in self.pods}
            return sum(now.values()) >= ready and not old & now.keys()

        self._await(replaced, "replacement of deleted pods")
        return frozenset(pod["metadata"]["name"] for pod in self._pods.serving())

    def _patch(self, change: Object) -> None:
        namespace, name = self._object.namespace, self._object.name
        self._connection.api.patch(path_of(("apps/v1", "Deployment"), namespace, name), change)
        self._connection.changed("patch", "Deployment", namespace, name)

    def _await(self, done: Callable[[], bool], what: str) -> None:
        limit = self._connection.context.settings.world_deadline
        if not self._connection.readiness().wait(done, limit):
            raise CannotMeasure(
                f"no {what} of {self._object.name} within {limit:.0f} s", "See `kubectl get pods`."
            )
        self._last_change.note(ENDPOINTS)
