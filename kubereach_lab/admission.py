"""What an API server that lets little in would refuse: with a fault, our pods or our Services, in its own words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kubereach_lab.pki import ADMIN
from kubereach_lab.status import StatusError

#: of the cluster itself, which is let in
_SYSTEM = "kube-system"
_ENFORCE = "pod-security.kubernetes.io/enforce"
_WORDS = {
    "api.quota": "exceeded quota: pods, requested: pods=1, used: pods=0, limited: pods=0",
    "api.pod-security": 'violates PodSecurity "restricted:latest": seccompProfile (pod or container "peer" must set '
    'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
    "api.limit-range": "minimum memory usage per Container is 64Mi, but request is 24Mi",
}


def of_pod(namespace: str, faults: Collection[str]) -> str:
    """api.quota, api.pod-security and api.limit-range: why a pod is refused, else empty."""
    return "" if namespace == _SYSTEM else next((_WORDS[name] for name in _WORDS if name in faults), "")


def of_level(spec: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Why the PodSecurity level of a namespace, by its `labels`, refuses a pod on the host network; else empty.

    Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    level = labels.get(_ENFORCE, "privileged")
    if level not in ("baseline", "restricted") or not spec.get("hostNetwork"):
        return ""
    version = labels.get(f"{_ENFORCE}-version", "latest")
    return f'violates PodSecurity "{level}:{version}": host namespaces (hostNetwork=true)'


def may(verb: str, resource: str, namespace: str | None, faults: Collection[str]) -> bool:
    """api.forbidden: the user may do all but create Services; ``*`` is all there is."""
    if "api.forbidden" not in faults or namespace == _SYSTEM:
        return True
    return not (verb in ("create", "*") and resource in ("services", "*"))


def forbidden(verb: str, resource: str, namespace: str | None) -> StatusError:
    """As RBAC refuses it."""
    message = (
        f'{resource} is forbidden: User "{ADMIN}" cannot {verb} resource "{resource}" in API group "" in the namespace '
        f'"{namespace}"'
    )
    return StatusError(403, "Forbidden", message, {"kind": resource})
