"""Would our pods be let in? Asked by a server-side dry run, and told in the API server's own words.

PodSecurity, ResourceQuota, LimitRange and policy engines all answer it, and nothing comes into being.

Sources: https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run,
https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from kubereach.kube.client import Api, ApiError, Object, path_of
from kubereach.model.errors import CannotMeasure, UsageError

_POD_SECURITY = "violates PodSecurity"
#: what refusals say that would refuse any pod: they are not about the host network
_OF_ANY_POD = ("exceeded quota", "failed quota", "usage per", "looking up service account")


def admit(
    api: Api, workloads: Sequence[Object], nodes: int, *, accounts: bool = False
) -> dict[tuple[str, str], str]:
    """Try a pod of each workload; give those on the host network that are refused, with the reason.

    `accounts` says that the ServiceAccounts which they name exist already. Raises `CannotMeasure` for any other
    refusal, and `UsageError` for a namespace that is not there.
    """
    wanted = [obj for obj in workloads if pod_of(obj) is not None]
    with api.threads(min(8, len(wanted) or 1)) as pool:
        refusals = list(pool.map(lambda obj: _refusal(api, obj, accounts), wanted))
    forbidden: dict[tuple[str, str], str] = {}
    for obj, refusal in zip(wanted, refusals, strict=True):
        if refusal is None:
            continue
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        if refusal.status == 404:
            raise UsageError(f"--namespace {namespace}: {refusal.message}", "See `kubectl get namespaces`.")
        pod = pod_of(obj)
        on_host = pod is not None and pod["spec"].get("hostNetwork")
        if on_host and refusal.status == 403 and not of_any_pod(refusal.message):
            why = f"pods with hostNetwork are not allowed in {namespace}: {refusal.message}"
            forbidden[(namespace, name)] = why
            continue
        raise CannotMeasure(
            f"the API server rejects pods like {namespace}/{name}: {refusal.message or refusal.reason}",
            remedy(namespace, refusal.message),
        )
    admitted = [o for o in wanted if (o["metadata"]["namespace"], o["metadata"]["name"]) not in forbidden]
    _room(api, admitted, nodes)
    return forbidden


def pod_of(workload: Object, account: bool = False) -> Object | None:
    """A pod as the workload's controller would make it; None without.

    It is under its own ServiceAccount if that exists (`account`), else under the one that every namespace has. That one
    comes a moment after its namespace, from a controller that may have much to do.
    """
    if workload["kind"] == "Pod":
        spec, labels = workload["spec"], workload["metadata"].get("labels") or {}
    elif "template" in (workload.get("spec") or {}):
        template = workload["spec"]["template"]
        spec, labels = template["spec"], template["metadata"].get("labels") or {}
    else:
        return None
    spec = {k: copy.deepcopy(value) for k, value in spec.items() if account or k != "serviceAccountName"}
    meta = workload["metadata"]
    name = {"name": f"kubereach-try-{meta['name']}", "namespace": meta["namespace"]}
    # no label that a Service of anybody selects by: nothing is made, but webhooks may see it
    ours = {key: value for key, value in labels.items() if "/" in key}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**name, "labels": ours}, "spec": spec}


def _refusal(api: Api, workload: Object, account: bool) -> ApiError | None:
    pod = pod_of(workload, account)
    assert pod is not None
    try:
        api.create(pod, dry_run=True)
    except ApiError as error:
        return error
    return None


def of_any_pod(message: str) -> bool:
    """Whether pods are refused for something that has nothing to do with the host network: room, a missing account."""
    return any(words in message for words in _OF_ANY_POD)


def remedy(namespace: str, message: str) -> str:
    """What to do about a refusal of our pods in these words."""
    if _POD_SECURITY in message:
        return (
            f"kubereach's pods satisfy the `restricted` profile; check the labels of namespace {namespace}."
        )
    if "failed quota" in message and "must specify limits" in message:
        return (
            f"kubereach's containers have no limits; a LimitRange in {namespace} with a `default` sets them."
        )
    if "exceeded quota" in message or "failed quota" in message:
        return (
            f"See `kubectl describe resourcequota -n {namespace}`: the quota must have room for the "
            "run's pods."
        )
    if "usage per" in message:
        return (
            f"See `kubectl describe limitrange -n {namespace}`: kubereach's containers request 5m CPU "
            "and 24Mi memory."
        )
    if "looking up service account" in message:
        return (
            "The namespace has no ServiceAccount `default`: check that kube-controller-manager, "
            "which creates it, is running."
        )
    return (
        "An admission policy rejects the pods: exempt kubereach's namespaces, or name others "
        "with --namespace."
    )


def _room(api: Api, workloads: Sequence[Object], nodes: int) -> None:
    """Whether quotas leave room for all pods that the run begins with. Raises `CannotMeasure`."""
    wanted: dict[str, int] = {}
    for obj in workloads:
        namespace = obj["metadata"]["namespace"]
        each = nodes if obj["kind"] == "DaemonSet" else int((obj.get("spec") or {}).get("replicas", 1))
        wanted[namespace] = wanted.get(namespace, 0) + each
    for namespace, pods in wanted.items():
        quotas = api.find(f"{path_of(('v1', 'Pod'), namespace).rpartition('/')[0]}/resourcequotas") or {}
        for quota in quotas.get("items") or ():
            status = quota.get("status") or {}
            for resource in ("pods", "count/pods"):
                hard, used = (str((status.get(key) or {}).get(resource, "")) for key in ("hard", "used"))
                if hard.isdecimal() and int(hard) - int(used if used.isdecimal() else 0) < pods:
                    name = quota["metadata"]["name"]
                    raise CannotMeasure(
                        f"ResourceQuota {namespace}/{name} allows {hard} {resource} and {used or 0} are used; a "
                        f"run needs {pods} to start",
                        "Raise the quota, or use fewer nodes: --set sample_nodes=N.",
                    )
