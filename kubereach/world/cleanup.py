"""What runs have made in namespaces that are not theirs: found by its labels, and removed. Nothing else is touched."""

from __future__ import annotations

import time
from collections.abc import Sequence

from kubereach.kube.client import Api, ApiError, Object, path_of
from kubereach.kube.watch_cache import WatchCache
from kubereach.model.errors import CannotMeasure, UsageError
from kubereach.world.deletion import delete_all, stuck
from kubereach.world.heartbeat import dead, is_kept
from kubereach.world.manifests import MANAGED_BY, RUN

#: what makes other objects goes first
_KINDS = (
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("v1", "Service"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("v1", "Pod"),
    ("v1", "ServiceAccount"),
)
#: what says that the run lives, or has died: goes last, so that whatever is left is found by the next run
_LAST = ("v1", "ConfigMap")
#: whose end takes time, and is waited for
_SLOW = (("v1", "Pod"), ("v1", "Service"))
#: looks at what is there: an object may have been on its way to the API server at the first
_LOOKS = 3


def remove_run(api: Api, namespaces: Sequence[str], run: str, seconds: float) -> list[str]:
    """Delete what the run called `run` has in the namespaces; gives what is left then, with the reasons."""
    deadline = time.monotonic() + seconds
    selector = f"{MANAGED_BY}=kubereach,{RUN}={run}"
    watch_cache = WatchCache(api, selector)
    for namespace in namespaces:
        for kind in _SLOW:
            watch_cache.follow(path_of(kind, namespace))

    def left() -> list[Object]:
        return [obj for _, kind in _SLOW for obj in watch_cache.all(kind)]

    failures: list[str] = []
    try:
        for _ in range(_LOOKS):
            found, failures = _objects(api, _KINDS, namespaces, selector)
            if not found:
                break
            pods = [one for one in found if one["kind"] == "Pod"]
            others = [one for one in found if one["kind"] != "Pod"]
            failures += delete_all(api, others, propagationPolicy="Background")
            # some may take their time by order of a check, also those that are on their way out
            failures += delete_all(api, pods, gracePeriodSeconds=1)
            watch_cache.wait(lambda: not left(), max(0.0, deadline - time.monotonic()))
    finally:
        watch_cache.stop()
    remaining = [*failures, *map(stuck, left())]
    if remaining:
        return remaining
    found, failures = _objects(api, (_LAST,), namespaces, selector)
    return failures + delete_all(api, found)


def _objects(
    api: Api, kinds: Sequence[tuple[str, str]], namespaces: Sequence[str], selector: str
) -> tuple[list[Object], list[str]]:
    """The run's objects that are not being deleted yet, and all its pods; and what could not be listed, and why."""
    found: list[Object] = []
    failures = []
    for kind in kinds:
        for namespace in namespaces:
            try:
                objects = api.items(path_of(kind, namespace), labelSelector=selector)
            except (ApiError, CannotMeasure) as error:
                failures.append(f"any {kind[1]} in {namespace} ({error.message})")
                continue
            found += [
                {"apiVersion": kind[0], "kind": kind[1], **obj}
                for obj in objects
                if kind[1] == "Pod" or not obj["metadata"].get("deletionTimestamp")
            ]
    return found, failures


def runs_in(api: Api, namespace: str) -> dict[str, Object]:
    """The runs that have something in a namespace, by name, with the ConfigMap that says whether they live."""
    found = api.items(path_of(_LAST, namespace), labelSelector=f"{MANAGED_BY}=kubereach")
    return {str(obj["metadata"]["labels"].get(RUN, "")): obj for obj in found}


def runs_of(api: Api, namespaces: Sequence[str]) -> dict[str, Object]:
    """The same of several namespaces, by ``NAMESPACE/RUN``."""
    return {
        f"{namespace}/{run}": obj for namespace in namespaces for run, obj in runs_in(api, namespace).items()
    }


def clear(api: Api, namespaces: Sequence[str], seconds: float) -> list[str]:
    """Remove what dead runs have in given namespaces, and wait for its end; gives those runs' names.

    Raises:
        UsageError: another run, or what one has kept, is in one of them: names would clash.
        CannotMeasure: a dead run's objects do not go.
    """
    found = runs_of(api, namespaces)
    died = dead(found, api.server_time, lambda: runs_of(api, namespaces))
    for key, obj in found.items():
        if key in died:
            continue
        namespace, _, run = key.partition("/")
        kept = is_kept(obj)
        raise UsageError(
            f"namespace {namespace} is in use by the run {run}"
            + (", which was kept (--keep)" if kept else ""),
            f"Run `kubereach clean --kept --namespace {namespace}`."
            if kept
            else "Wait for its end, or use other namespaces.",
        )
    names = list(dict.fromkeys(key.partition("/")[2] for key in died))
    for run in names:
        if remaining := remove_run(api, namespaces, run, seconds):
            raise CannotMeasure(
                f"leftovers of run {run} are stuck: {', '.join(remaining)}",
                "See `kubectl describe` of these objects.",
            )
    return names
