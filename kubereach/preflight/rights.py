"""The one table of what a run does to a cluster's API: what is asked for beforehand, and what `kubereach rbac` grants.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kubereach.model.settings import Settings

_CORE, _APPS, _DISCOVERY, _NETWORKING = "", "apps", "discovery.k8s.io", "networking.k8s.io"
#: where: everywhere; in the namespaces of the run; and in two that every cluster has
_EVERYWHERE, _OURS, _SYSTEM, _DEFAULT = "", "ours", "kube-system", "default"


@dataclass(frozen=True)
class Right:
    """Verbs on a resource (``pods``, ``pods/exec``) in a namespace, which is empty for all of them."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    namespace: str = ""
    #: of these objects alone
    names: tuple[str, ...] = ()
    #: what it is for can be left out: nobody is kept from a run by its lack
    optional: bool = False

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        group = f".{self.group}" if self.group else ""
        return f"{' and '.join(self.verbs)} {self.resource}{group}{where}"


def _right(group: str, resource: str, verbs: str, where: str, *names: str, optional: bool = False) -> Right:
    return Right(group, resource, tuple(verbs.split()), where, names, optional)


_TABLE = (
    _right(_CORE, "nodes", "list", _EVERYWHERE),
    # the watch cache's watches; checks make, change and end
    _right(_CORE, "pods", "list watch create patch delete", _OURS),
    _right(_CORE, "pods/exec", "create get", _OURS),
    _right(_CORE, "services", "list watch create patch delete", _OURS),
    _right(_CORE, "configmaps", "create", _OURS),
    _right(_CORE, "serviceaccounts", "create", _OURS),
    _right(_CORE, "events", "list", _OURS, optional=True),
    _right(_CORE, "resourcequotas", "list", _OURS, optional=True),
    _right(_APPS, "daemonsets", "list watch create", _OURS),
    _right(_APPS, "deployments", "list watch create patch delete", _OURS),
    _right(_APPS, "statefulsets", "list watch create", _OURS),
    _right(_DISCOVERY, "endpointslices", "list watch create patch delete", _OURS),
    # facts: the address of the API server, cluster DNS, the cluster's domain and authority, ranges of addresses
    _right(_CORE, "services", "get", _DEFAULT, "kubernetes"),
    _right(_CORE, "services", "list", _SYSTEM),
    _right(_DISCOVERY, "endpointslices", "list", _SYSTEM),
    _right(_CORE, "pods", "list", _SYSTEM, optional=True),
    _right(
        _CORE, "configmaps", "get", _SYSTEM, "coredns", "kube-root-ca.crt", "kubeadm-config", optional=True
    ),
    # which service proxy there is, where they lawfully differ
    _right(_CORE, "configmaps", "get", _SYSTEM, "kube-proxy", "cilium-config", optional=True),
    _right(_NETWORKING, "servicecidrs", "list", _EVERYWHERE, optional=True),
)
#: only where the run makes its namespaces itself
_NAMESPACES = (_right(_CORE, "namespaces", "list watch create patch delete", _EVERYWHERE),)
#: only where they are given: what we have made goes with our namespaces, and has to be found and deleted in others
_GIVEN = (
    _right(_CORE, "configmaps", "list patch delete", _OURS),
    _right(_CORE, "serviceaccounts", "list delete", _OURS),
    _right(_APPS, "daemonsets", "delete", _OURS),
    _right(_APPS, "statefulsets", "delete", _OURS),
)
#: what can only be asked by dry run is asked in the default namespace then
_DRY_RUNS = (_right(_CORE, "services", "create", _DEFAULT, optional=True),)
_SELF_BALANCER = (_right(_CORE, "services/status", "patch", _OURS),)


def needed(settings: Settings) -> list[Right]:
    """What a run with these settings does, in its given namespaces or, without any, in ones of its own everywhere."""
    given = settings.namespaces
    table = _TABLE + (_SELF_BALANCER if settings.self_load_balancer else ())
    table += _GIVEN if given else _NAMESPACES + _DRY_RUNS
    found = list(_placed(table, given))
    namespace, secret = settings.pull_secret
    if secret and not given:
        found.append(Right(_CORE, "secrets", ("get",), namespace, (secret,)))
        found.append(Right(_CORE, "secrets", ("create",)))
    return found


def _placed(table: Sequence[Right], given: Sequence[str]) -> Iterator[Right]:
    for right in table:
        for namespace in given or ("",) if right.namespace == _OURS else (right.namespace,):
            yield Right(right.group, right.resource, right.verbs, namespace, right.names, right.optional)
