"""`kubereach rbac`: the table of rights as objects for `kubectl apply -f -`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

import yaml

from kubereach.kube.client import Object
from kubereach.model.errors import UsageError
from kubereach.model.settings import Settings
from kubereach.preflight.rights import Right, needed
from kubereach.run.options import namespaces_of

_API = "rbac.authorization.k8s.io"
_NAME = "kubereach"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Prints a ServiceAccount, a ClusterRole, Roles and bindings that grant exactly the "
        "permissions of a run, for `kubectl apply -f -`."
    )
    parser.add_argument(
        "--namespace",
        metavar="NAME[,..]",
        action="append",
        default=[],
        help="namespaces of runs with --namespace NAME; the account can only read outside of them",
    )
    parser.add_argument(
        "--account",
        metavar="NAMESPACE/NAME",
        default="default/kubereach",
        help="ServiceAccount to create (default: default/kubereach)",
    )
    parser.add_argument("--user", metavar="NAME", help="bind to this user instead of a ServiceAccount")
    parser.add_argument("--image-pull-secret", metavar="[NAMESPACE/]NAME", help="for runs with this option")


def main(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Print the objects. Raises `UsageError`."""
    given = namespaces_of(tuple(arguments.namespace))
    settings = Settings(
        self_load_balancer=True, namespaces=given, image_pull_secret=arguments.image_pull_secret or None
    )
    namespace, slash, name = arguments.account.partition("/")
    if not (namespace and slash and name):
        raise UsageError(
            f"--account {arguments.account}: not of the form NAMESPACE/NAME", "Example: default/kubereach."
        )
    documents = objects(needed(settings), namespace, name, arguments.user or "")
    say(yaml.safe_dump_all(documents, sort_keys=False, width=120, default_flow_style=None).rstrip())
    return 0


def objects(rights: Sequence[Right], namespace: str, account: str, user: str = "") -> list[Object]:
    """The objects that grant `rights` to a ServiceAccount, which is one of them, or to a user."""
    found: list[Object] = []
    if user:
        subject: Object = {"kind": "User", "name": user, "apiGroup": _API}
    else:
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        meta = {"name": account, "namespace": namespace}
        found.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    for place in dict.fromkeys(right.namespace for right in rights):
        kind = "Role" if place else "ClusterRole"
        where = {"name": _NAME, "namespace": place} if place else {"name": _NAME}
        rules = list(_rules(right for right in rights if right.namespace == place))
        version = f"{_API}/v1"
        found.append({"apiVersion": version, "kind": kind, "metadata": dict(where), "rules": rules})
        role = {"apiGroup": _API, "kind": kind, "name": _NAME}
        binding = {"apiVersion": version, "kind": f"{kind}Binding", "metadata": dict(where)}
        found.append({**binding, "roleRef": role, "subjects": [dict(subject)]})
    return found


def _rules(rights: Iterable[Right]) -> Iterable[Object]:
    for right in rights:
        rule: Object = {"apiGroups": [right.group], "resources": [right.resource], "verbs": list(right.verbs)}
        yield {**rule, "resourceNames": list(right.names)} if right.names else rule
