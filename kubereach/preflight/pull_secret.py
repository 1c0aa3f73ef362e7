"""The Secret that our pods' image is pulled with: copied into the run's namespaces, named by its service accounts.

Source: https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/
"""

from __future__ import annotations

from collections.abc import Sequence

from kubereach.kube.client import Api, ApiError, Object, path_of
from kubereach.model.errors import UsageError

_TYPES = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")


def copies(api: Api, secret: tuple[str, str], namespaces: Sequence[str], labels: Object) -> list[Object]:
    """The Secret (namespace and name) once for each of `namespaces`. Raises `UsageError` if it cannot be used."""
    namespace, name = secret
    try:
        found = api.get(path_of(("v1", "Secret"), namespace, name))
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        raise UsageError(
            f"--image-pull-secret {namespace}/{name}: {error.message}",
            f"Create it: kubectl create secret docker-registry {name} --namespace {namespace}",
        ) from error
    if found.get("type") not in _TYPES:
        raise UsageError(
            f"--image-pull-secret {namespace}/{name}: the Secret has the type {found.get('type')}, "
            f"expected {_TYPES[0]}",
            "Create one with `kubectl create secret docker-registry`.",
        )
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": place, "labels": dict(labels)},
            "type": found["type"],
            "data": found.get("data") or {},
        }
        for place in namespaces
    ]


def name_in(account: Object, name: str) -> None:
    """Let pods of a ServiceAccount pull with the Secret of this name."""
    account["imagePullSecrets"] = [{"name": name}]
