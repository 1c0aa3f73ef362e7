"""What admission refuses, in its own words; with a fault, our pods or our Services too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubereach_lab import status
from kubereach_lab.faults import Faults
from kubereach_lab.pki import ADMIN
from kubereach_lab.resources import Resource
from kubereach_lab.status import Object, StatusError
from kubereach_lab.store import Find

#: of the cluster itself, which is let in
_SYSTEM = "kube-system"
_ENFORCE = "pod-security.kubernetes.io/enforce"
_QUOTA = "exceeded quota: pods, requested: pods=1, used: pods=0, limited: pods=0"
_POD_SECURITY = (
    'violates PodSecurity "restricted:latest": seccompProfile (pod or container "peer" must set '
    'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
)
_LIMIT_RANGE = "minimum memory usage per Container is 64Mi, but request is 24Mi"


def of_pod(namespace: str, faults: Faults) -> str:
    """api.quota, api.pod-security and api.limit-range: why a pod is refused, else empty."""
    if namespace == _SYSTEM:
        return ""
    if faults.api.quota:
        return _QUOTA
    if faults.api.pod_security:
        return _POD_SECURITY
    return _LIMIT_RANGE if faults.api.limit_range else ""


def check_namespace(kind: Resource, metadata: Object, find: Find) -> None:
    """Nothing is made where there is no namespace, or one that is ending (NamespaceLifecycle).

    Raises `StatusError` 404 or 403. `metadata` are the new object's.
    """
    name = metadata["namespace"]
    namespace = find("namespaces", None, name)
    if namespace is None:
        raise status.not_found("namespaces", name)
    if namespace["metadata"].get("deletionTimestamp"):
        why = f"unable to create new content in namespace {name} because it is being terminated"
        text = f"namespace {name} is being terminated"
        cause = status.Cause("metadata.namespace", "NamespaceTerminating", text)
        raise status.forbidden(kind.name, metadata.get("name", ""), why, kind.group, [cause])


def of_level(spec: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Why the PodSecurity level of a namespace, by its `labels`, refuses a pod on the host network; else empty.

    Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    level = labels.get(_ENFORCE, "privileged")
    if level not in ("baseline", "restricted") or not spec.get("hostNetwork"):
        return ""
    version = labels.get(f"{_ENFORCE}-version", "latest")
    return f'violates PodSecurity "{level}:{version}": host namespaces (hostNetwork=true)'


def may(verb: str, resource: str, namespace: str | None, faults: Faults) -> bool:
    """api.forbidden: the user may do all but create Services; ``*`` is all there is."""
    if not faults.api.forbidden or namespace == _SYSTEM:
        return True
    return not (verb in ("create", "*") and resource in ("services", "*"))


def forbidden(verb: str, resource: str, namespace: str | None) -> StatusError:
    """As RBAC refuses it."""
    message = (
        f'{resource} is forbidden: User "{ADMIN}" cannot {verb} resource "{resource}" in API group "" in the namespace '
        f'"{namespace}"'
    )
    return StatusError(403, "Forbidden", message, {"kind": resource})
