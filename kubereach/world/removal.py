"""What runs have made in namespaces that are not theirs: found by its labels, and removed. Nothing else is touched."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from kubereach.api import Api, Object, object_path, path_of
from kubereach.errors import CannotMeasure, UsageError
from kubereach.world.board import Board
from kubereach.world.leftovers import is_dead, is_kept
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
    ("v1", "ConfigMap"),
)
#: whose end takes time, and is waited for
_SLOW = (("v1", "Pod"), ("v1", "Service"))


def remove_run(api: Api, namespaces: Sequence[str], run: str, seconds: float) -> list[str]:
    """Delete what the run called `run` has in the namespaces; gives the pods and Services that are still there then."""
    selector = f"{MANAGED_BY}=kubereach,{RUN}={run}"
    board = Board(api, selector)
    for namespace in namespaces:
        for kind in _SLOW:
            board.follow(path_of(kind, namespace))
    for kind in _KINDS:
        found = [
            {"apiVersion": kind[0], "kind": kind[1], **obj}
            for namespace in namespaces
            for obj in api.items(path_of(kind, namespace), labelSelector=selector)
        ]
        if found:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda o: api.delete(object_path(o), propagationPolicy="Background"), found))

    def left() -> list[Object]:
        return [obj for _, kind in _SLOW for obj in board.all(kind)]

    board.wait(lambda: not left(), seconds)
    board.stop()
    return [f"{obj['metadata']['namespace']}/{obj['metadata']['name']}" for obj in left()]


def runs_in(api: Api, namespace: str) -> dict[str, Object]:
    """The runs that have something in a namespace, by name, with the ConfigMap that says whether they live."""
    found = api.items(path_of(("v1", "ConfigMap"), namespace), labelSelector=f"{MANAGED_BY}=kubereach")
    return {str(obj["metadata"]["labels"].get(RUN, "")): obj for obj in found}


def clear(api: Api, namespaces: Sequence[str], seconds: float) -> list[str]:
    """Remove what dead runs have in given namespaces, and wait for its end; gives those runs' names.

    Raises:
        UsageError: another run, or what one has kept, is in one of them: names would clash.
        CannotMeasure: a dead run's objects do not go.
    """
    dead: dict[str, None] = {}
    for namespace in namespaces:
        for run, obj in runs_in(api, namespace).items():
            if is_dead(obj, time.time()):
                dead[run] = None
                continue
            kept = is_kept(obj)
            raise UsageError(
                f"namespace {namespace} is in use by the run {run}" + (", which was kept" if kept else ""),
                f"kubereach clean --kept --namespace {namespace} removes it."
                if kept
                else "Wait for its end, or give other namespaces.",
            )
    for run in dead:
        if left := remove_run(api, namespaces, run, seconds):
            raise CannotMeasure(
                f"what the run {run} left does not go: {', '.join(left)}", "See `kubectl describe` of them."
            )
    return list(dead)
