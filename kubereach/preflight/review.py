"""May we? Asked of the API server for everything that a run does, by SelfSubjectAccessReview, before it does anything.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kubereach.kube.client import Api, ApiError, Object
from kubereach.model.errors import CannotMeasure
from kubereach.preflight.rights import Right

#: all of everything: who may do that need not be asked for each thing
_ALL = Right("*", "*", ("*",))


def review(api: Api, rights: Sequence[Right]) -> None:
    """Ask for every required right at the same time. Raises `CannotMeasure`, which names what is missing."""
    if not missing(api, [_ALL]):
        return
    if lacking := missing(api, [right for right in rights if not right.optional]):
        raise CannotMeasure(
            f"missing permissions in the cluster: {'; '.join(map(str, lacking))}",
            "Ask an administrator to run: kubereach rbac [--user NAME] | kubectl apply -f -",
        )


def missing(api: Api, rights: Sequence[Right]) -> list[Right]:
    """Those that the API server does not grant, each with the verbs that are lacking. None if it cannot be asked."""
    requests = [
        (right, verb, name) for right in rights for verb in right.verbs for name in right.names or ("",)
    ]
    with api.threads(min(8, len(requests) or 1)) as pool:
        granted = list(pool.map(lambda one: _granted(api, *one), requests))
    found = []
    for right in rights:
        refused = [v for (r, v, _), yes in zip(requests, granted, strict=True) if r is right and not yes]
        if refused:
            found.append(replace(right, verbs=tuple(dict.fromkeys(refused))))
    return found


def _granted(api: Api, right: Right, verb: str, name: str) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes: Object = {"verb": verb, "group": right.group, "resource": resource}
    more = {"subresource": subresource, "namespace": right.namespace, "name": name}
    attributes |= {key: value for key, value in more.items() if value}
    try:
        status = api.review({"resourceAttributes": attributes})
    except ApiError as error:
        if error.status in (403, 404):
            return True  # a server that does not say: what we may not do shows when we do it
        raise
    return bool(status.get("allowed"))
