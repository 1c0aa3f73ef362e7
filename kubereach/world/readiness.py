"""Is everything up? And if a pod cannot start, why: in the first second rather than at the deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from kubereach.kube.client import Api, Object
from kubereach.kube.watch_cache import WatchCache, is_ready, key_of
from kubereach.model.errors import CannotMeasure
from kubereach.preflight.admission import of_any_pod, remedy
from kubereach.world.manifests import CONTAINER

NEVER_READY = "kubereach.io/never-ready"

#: reasons for which a container waits that no waiting cures, with what to do
_HOPELESS = {
    "ErrImagePull": "Use --image to name one that the nodes have or can pull.",
    "ImagePullBackOff": "Use --image to name one that the nodes have or can pull.",
    "ErrImageNeverPull": "Use --image to name one that the nodes have.",
    "InvalidImageName": "Correct the name given with --image.",
    "CreateContainerConfigError": "See `kubectl describe pod`.",
    "CreateContainerError": "The image needs `python3`: choose one with --image.",
    "RunContainerError": "The image needs `python3`: choose one with --image.",
    "CrashLoopBackOff": "The image needs Python >= 3.8 as `python3`: choose one with --image.",
}
#: what runtimes and registries say of an image of another architecture
_FOREIGN = ("exec format error", "no match for platform", "no matching manifest")
_OTHER_ARCHITECTURE = (
    "The image does not support this node's architecture: --set image_architectures=amd64 skips other nodes."
)
#: kinds whose controllers make pods
WORKLOADS = ("DaemonSet", "StatefulSet", "Deployment")
#: seconds between two looks at why workloads get no pods
_LOOK = 2.0


class Readiness:
    """Judges the run's pods and workloads in the watch cache; those among `made` count even before it knows them."""

    def __init__(
        self, watch_cache: WatchCache, api: Api, made: Iterable[Object] = (), *, patience: float = 5.0
    ) -> None:
        """`patience`: seconds that a scheduler or a controller may take to change its mind."""
        self._patience = patience
        self._watch_cache = watch_cache
        self._api = api
        self._awaited = [key_of(obj) for obj in made if obj["kind"] in ("Pod", *WORKLOADS)]
        self._begun = time.monotonic()
        self._looked = 0.0
        #: pods that no node has room for, by uid, with the moment when that was first seen
        self._unschedulable: dict[str, float] = {}
        #: workloads that the cluster's admission does not let have pods: (namespace, name) to the reason
        self.forbidden: dict[tuple[str, str], str] = {}

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until `done()`, which may raise to end it. False: out of time.

        Raises `CannotMeasure` as soon as it is clear that a pod cannot start, or cannot be made.
        """
        deadline = time.monotonic() + seconds

        def hopeful_or_done() -> bool:
            if done():
                return True
            for pod in self._pods():
                self._hopeless(pod)
            return False

        while not self._watch_cache.wait(hopeful_or_done, min(_LOOK, max(0.0, deadline - time.monotonic()))):
            self.stuck()
            if time.monotonic() >= deadline:
                return False
        return True

    def _pods(self) -> list[Object]:
        """All but those on their way out, which may end in whatever way."""
        return [pod for pod in self._watch_cache.all("Pod") if not pod["metadata"].get("deletionTimestamp")]

    def counts(self) -> tuple[int, int]:
        """(ready, wanted) pods."""
        ready = 0
        # a watch may be late: what it has not told of yet is not ready either
        wanted = sum(self._watch_cache.get(*key) is None for key in self._awaited)
        owned: dict[tuple[str, str], int] = {}
        for pod in self._pods():
            owners = pod["metadata"].get("ownerReferences")
            if owners:
                key = (pod["metadata"]["namespace"], _app(pod))
                owned[key] = owned.get(key, 0) + is_ready(pod)
            else:
                wanted += 1
                never = NEVER_READY in (pod["metadata"].get("annotations") or {})
                ready += pod.get("status", {}).get("phase") == "Running" if never else is_ready(pod)
        for kind in WORKLOADS:
            for workload in self._watch_cache.all(kind):
                key = (workload["metadata"]["namespace"], workload["metadata"]["name"])
                if key in self.forbidden:
                    continue
                status = workload.get("status") or {}
                replicas = workload["spec"].get("replicas", 1)
                desired = status.get("desiredNumberScheduled", 0) if kind == "DaemonSet" else replicas
                # until its controller has looked at a DaemonSet, at least one pod of it is missing
                wanted += desired or (1 if kind == "DaemonSet" else 0)
                ready += min(owned.get(key, 0), desired)
        return ready, wanted

    def wait_for_all(self, seconds: float, progress: Callable[[str], None]) -> None:
        """Wait until every pod is ready, and tell of each step. Raises `CannotMeasure` that says what is missing."""
        last = (-1, -1)

        def done() -> bool:
            nonlocal last
            ready, wanted = self.counts()
            if (ready, wanted) != last:
                last = (ready, wanted)
                progress(f"waiting for {wanted} pods: {ready} ready")
            return ready >= wanted > 0

        if self.wait(done, seconds):
            return
        if unobserved := self.unobserved():
            raise CannotMeasure(
                f"no controller has processed {', '.join(unobserved)} within {seconds:.0f} s",
                "Check that kube-controller-manager is running: `kubectl -n kube-system get pods,leases`.",
            )
        missing = [pod["metadata"]["name"] for pod in self._watch_cache.all("Pod") if not is_ready(pod)]
        ready, wanted = last
        raise CannotMeasure(
            f"{ready} of {wanted} pods are ready after {seconds:.0f} s; waiting for {', '.join(missing)}",
            "See `kubectl describe pod`; if the image pull is slow, raise --set world_deadline=600.",
        )

    def unobserved(self) -> list[str]:
        """The workloads that no controller has looked at yet, which is the first that it does: ``DaemonSet a/web``."""
        return [
            f"{kind} {workload['metadata']['namespace']}/{workload['metadata']['name']}"
            for kind in WORKLOADS
            for workload in self._watch_cache.all(kind)
            if not (workload.get("status") or {}).get("observedGeneration")
        ]

    def stuck(self) -> None:
        """To be called now and then while nothing is ready: why do workloads get no pods?

        Raises `CannotMeasure`, but only notes what admission forbids to the node vantages.
        """
        now = time.monotonic()
        if now - self._begun < _LOOK or now - self._looked < _LOOK:
            return
        self._looked = now
        for kind in WORKLOADS:
            for workload in self._watch_cache.all(kind):
                self._failed_create(workload)

    def _failed_create(self, workload: Object) -> None:
        namespace, name = workload["metadata"]["namespace"], workload["metadata"]["name"]
        there = sum(_app(pod) == name for pod in self._watch_cache.all("Pod", namespace))
        # some pods are made one after the other
        some = there and time.monotonic() - self._begun < self._patience
        if some or there >= _desired(workload) or (namespace, name) in self.forbidden:
            return
        events = self._api.find(
            f"/api/v1/namespaces/{namespace}/events", fieldSelector="type=Warning,reason=FailedCreate"
        )
        for event in (events or {}).get("items") or ():
            if not str(event.get("involvedObject", {}).get("name", "")).startswith(name):
                continue
            message = str(event.get("message", ""))
            spec = workload["spec"]["template"]["spec"]
            if spec.get("hostNetwork") and "forbidden" in message and not of_any_pod(message):
                self.forbidden[(namespace, name)] = f"pods with hostNetwork are not allowed: {message}"
                return
            raise CannotMeasure(
                f"cannot create the pods of {namespace}/{name}: {message}", remedy(namespace, message)
            )

    def _hopeless(self, pod: Object) -> None:
        status = pod.get("status", {})
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for container in status.get("containerStatuses") or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            reason = waiting.get("reason", "")
            if reason in _HOPELESS and container.get("name", CONTAINER) != CONTAINER:
                raise CannotMeasure(
                    f"pod {name} cannot start: its container {container['name']}, which is not kubereach's: {reason}: "
                    f"{waiting.get('message', '')}".rstrip(": "),
                    "A webhook injects that container: exempt kubereach's namespaces, or name others with "
                    "--namespace.",
                )
            if reason in _HOPELESS:
                ended = (container.get("lastState") or {}).get("terminated") or {}
                why = ended.get("message") or waiting.get("message") or ""
                foreign = any(words in why for words in _FOREIGN)
                raise CannotMeasure(
                    f"pod {name} cannot start: {reason}: {why}".rstrip(": "),
                    _OTHER_ARCHITECTURE if foreign else _HOPELESS[reason],
                )
        if status.get("phase") == "Failed":
            raise CannotMeasure(f"pod {name} failed: {status.get('message') or status.get('reason', '')}")
        self._without_node(pod, name)

    def _without_node(self, pod: Object, name: str) -> None:
        conditions = {c["type"]: c for c in pod.get("status", {}).get("conditions") or ()}
        scheduled = conditions.get("PodScheduled") or {}
        uid = str(pod["metadata"]["uid"])
        if scheduled.get("reason") != "Unschedulable":
            self._unschedulable.pop(uid, None)
            return
        since = self._unschedulable.setdefault(uid, time.monotonic())
        if time.monotonic() - since > self._patience:
            raise CannotMeasure(
                f"pod {name} cannot be scheduled: {scheduled.get('message', '')}",
                "The cluster lacks resources, or its nodes have taints that kubereach's pods do not "
                "tolerate.",
            )


def _desired(workload: Object) -> int:
    """The pods that a workload's controller is to make; one at least until it has looked at a DaemonSet."""
    if workload["kind"] == "DaemonSet":
        return int((workload.get("status") or {}).get("desiredNumberScheduled", 0)) or 1
    return int(workload["spec"].get("replicas", 1))


def _app(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get("app", ""))
