"""Deleting objects: what was refused, and what does not go, is named with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from kubereach.kube.client import Api, ApiError, Object, object_path
from kubereach.kube.watch_cache import WatchCache
from kubereach.model.errors import CannotMeasure
from kubereach.world.heartbeat import NAMESPACES
from kubereach.world.manifests import RUN


def delete_all(api: Api, objects: Sequence[Object], **options: object) -> list[str]:
    """Begin to delete objects, eight at a time; gives those that could not be, with the reason."""

    def delete(obj: Object) -> str:
        try:
            api.delete(object_path(obj), **options)
        except (ApiError, CannotMeasure) as error:
            return f"{name_of(obj)} ({error.message})"
        return ""

    with api.threads(8) as pool:
        return [failure for failure in pool.map(delete, objects) if failure]


def delete_namespaces(api: Api, run: str, pods: Sequence[Object], seconds: float) -> list[str]:
    """Delete the namespaces of a run; gives those that are left after so many `seconds`, with the reasons.

    `pods` are its pods that are being deleted already.
    """
    # a check that was interrupted may have told them to take their time
    delete_all(api, [{"apiVersion": "v1", **pod} for pod in pods], gracePeriodSeconds=1)
    watch_cache = WatchCache(api, f"{RUN}={run}")
    watch_cache.follow(NAMESPACES)
    try:
        failures = delete_all(api, watch_cache.all("Namespace"))
        # those that were refused stay anyway
        watch_cache.wait(lambda: len(watch_cache.all("Namespace")) <= len(failures), seconds)
    finally:
        watch_cache.stop()
    refused = {failure.partition(" (")[0] for failure in failures}
    return failures + [stuck(one) for one in watch_cache.all("Namespace") if name_of(one) not in refused]


def stuck(obj: Object) -> str:
    """An object that should be gone, with what keeps it, as far as the API says."""
    meta = obj["metadata"]
    conditions = (obj.get("status") or {}).get("conditions") or ()
    # https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/namespace-v1/#NamespaceStatus
    reasons = [
        str(one.get("message", ""))
        for one in conditions
        if str(one.get("type", "")).startswith("Namespace") and one.get("status") == "True"
    ]
    finalizers = [*(meta.get("finalizers") or ()), *((obj.get("spec") or {}).get("finalizers") or ())]
    if not meta.get("deletionTimestamp"):
        reasons.insert(0, "its deletion has not begun")
    elif not reasons and finalizers:
        reasons.append(f"finalizers: {', '.join(map(str, finalizers))}")
    return f"{name_of(obj)} ({'; '.join(filter(None, reasons)) or 'being deleted'})"


def not_removed(left: Sequence[str], seconds: float) -> CannotMeasure:
    """The error of objects that are left after so many seconds, each with the reason."""
    return CannotMeasure(
        f"left in the cluster after {seconds:.0f} s: {', '.join(left)}",
        "Run `kubereach clean`; `kubectl describe` shows what blocks the deletion of the rest.",
    )


def name_of(obj: Object) -> str:
    meta = obj["metadata"]
    place = f"{meta['namespace']}/" if meta.get("namespace") else ""
    return f"{obj['kind']} {place}{meta['name']}"
