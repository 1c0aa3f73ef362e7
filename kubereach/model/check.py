"""`@check`: the declaration of a conformance requirement, in the line above the test that proves it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kubereach.model.errors import UsageError

# Levels, as in RFC 2119's words: who must pass a check, and what a failure does to the run.
CORE = "core"  #: every cluster MUST
EXT = "ext"  #: MUST where the feature is present, or required by --require
INFO = "info"  #: reported, never fails a run
DISR = "disr"  #: disturbs nodes or system pods; runs only with --disruptive

LEVELS: dict[str, str] = {
    CORE: "required of every cluster",
    EXT: "required where the feature is present",
    INFO: "reported only, never fails a run",
    DISR: "disturbs nodes or system pods, runs only with --disruptive",
}

# Features that a check can need. What detects each one is in `kubereach.model.features`.
MULTI_NODE = "multi-node"
LOADBALANCER = "loadbalancer"
HOST_NETWORK = "host-network"
OUTSIDE = "outside"
OTHER_NAMESPACE = "other-namespace"
SCTP = "sctp"
LB_CONTROLLER = "load-balancer-controller"
DUAL_STACK = "dual-stack"
OUTSIDE_DUAL = "outside-dual-stack"
SAME_NODE = "prefer-same-node"
SAME_ZONE = "prefer-same-zone"
EXTERNAL_NAME = "external-name"

FEATURES: dict[str, str] = {
    MULTI_NODE: "the cluster has two nodes or more",
    LOADBALANCER: "Services of type LoadBalancer get an external IP",
    OTHER_NAMESPACE: "the run has a second namespace, for the vantages of other-namespace",
    HOST_NETWORK: "pods with hostNetwork are allowed, for the vantages of node",
    OUTSIDE: "node addresses are reachable from the machine that runs pytest",
    SCTP: "the nodes' kernels support SCTP",
    LB_CONTROLLER: "a load balancer controller assigns the external IPs, and routes them to the nodes",
    DUAL_STACK: "Services can get addresses of both IP families",
    OUTSIDE_DUAL: "node addresses of both IP families are reachable from the machine that runs pytest",
    SAME_NODE: "Services can prefer endpoints on the client's node",
    EXTERNAL_NAME: "--external-name gives a public name that pods must be able to resolve",
    SAME_ZONE: "Services can prefer endpoints in the client's zone, and the nodes span several zones",
}

# Where requirements come from.
DOCS = "https://kubernetes.io/docs/concepts/services-networking/"
POD_LIFECYCLE = "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/"
VIRTUAL_IPS = "https://kubernetes.io/docs/reference/networking/virtual-ips/"
SOURCE_IP = "https://kubernetes.io/docs/tutorials/services/source-ip/"
LABELS = "https://kubernetes.io/docs/reference/labels-annotations-taints/"
TASKS = "https://kubernetes.io/docs/tasks/"
DNS_SPEC = "https://github.com/kubernetes/dns/blob/master/docs/specification.md"

#: the attribute of a test function that holds its `Check`
ATTRIBUTE = "__kubereach_check__"

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\.[a-z0-9]+(-[a-z0-9]+)*")
_Function = TypeVar("_Function", bound=Callable[..., object])


@dataclass(frozen=True)
class Check:
    """One requirement, as declared. `requirement` is one sentence; `why` is the rest of the docstring."""

    id: str
    level: str
    needs: tuple[str, ...]
    source: str
    requirement: str
    why: str
    file: Path
    #: the test function's qualified name: with `file`, what tells two declarations of one id apart
    function: str = ""
    #: waits for pods or time-outs: it runs beside the others, and not in a quick run
    slow: bool = False
    #: fixtures that it changes, or wears out: no check that uses one of them runs at the same time
    changes: tuple[str, ...] = ()
    #: probes and facts that it judges at least, whatever its expectations need; with fewer it has not passed
    minimum: int = 1

    @property
    def topic(self) -> str:
        """The id up to the dot: the folder of suites/ that holds the check."""
        return self.id.partition(".")[0]


def check(
    id: str,
    *,
    level: str = CORE,
    needs: str | Sequence[str] = (),
    source: str,
    slow: bool = False,
    changes: str | Sequence[str] = (),
    minimum: int = 1,
) -> Callable[[_Function], _Function]:
    """Declare a pytest test as the check `id`.

    The docstring's first line is the requirement, the rest says why it matters. `needs` names the features
    without which the check is unsupported; `source` is the address of the text that asks for it. A `slow` check waits
    for pods of its own or for time-outs: more of them run at once, they may change nothing that others use, and they
    probe from `other_pods`, `nodes` or pods of their own. All checks run beside others: `changes` names the fixtures
    of which this one changes the objects, or uses up what is limited. A check passes if it has judged as many probes
    and facts as its expectations need, and `minimum` at least.

    Raises `UsageError`, naming the file, for a malformed id, an unknown level or feature, a minimum below 1, or a
    missing docstring. That an id is declared once only is seen when all tests are collected.
    """
    needed, changed = ((words,) if isinstance(words, str) else tuple(words) for words in (needs, changes))

    def declare(function: _Function) -> _Function:
        file = Path(function.__code__.co_filename)
        name = getattr(function, "__qualname__", repr(function))
        declaration = make(
            id, level, needed, source, inspect.getdoc(function) or "", file, name, slow, changed, minimum
        )
        setattr(function, ATTRIBUTE, declaration)
        return function

    return declare


def make(
    id: str,
    level: str,
    needs: tuple[str, ...],
    source: str,
    docstring: str,
    file: Path,
    function: str,
    slow: bool = False,
    changes: tuple[str, ...] = (),
    minimum: int = 1,
) -> Check:
    """Build a `Check` from its parts, imported or read from the source. Raises `UsageError`."""
    where = f"{file}: {function}"
    if not _ID.fullmatch(id):
        raise UsageError(
            f"{where}: malformed check id {id!r}",
            "An id is topic.name in lower case, for example nodeport.every-node.",
        )
    if level not in LEVELS:
        raise UsageError(
            f"{where}: check {id} has the unknown level {level!r}", f"Levels: {', '.join(LEVELS)}."
        )
    for feature in needs:
        if feature not in FEATURES:
            raise UsageError(
                f"{where}: check {id} needs the unknown feature {feature!r}",
                f"Features: {', '.join(FEATURES)}.",
            )
    if not source:
        raise UsageError(
            f"{where}: check {id} has no source", "Name the documentation or KEP that requires it."
        )
    if minimum < 1:
        raise UsageError(
            f"{where}: check {id} has the minimum {minimum}",
            "A check must compare at least one probe or fact.",
        )
    requirement, _, why = docstring.strip().partition("\n")
    if not requirement:
        raise UsageError(
            f"{where}: check {id} has no docstring", "Its first line states the requirement in one sentence."
        )
    return Check(
        id, level, needs, source, requirement.strip(), why.strip(), file, function, slow, changes, minimum
    )


def declaration_of(function: object) -> Check | None:
    """The `Check` that a test function was declared with, or None for any other object."""
    found = getattr(function, "__dict__", {}).get(ATTRIBUTE)
    return found if isinstance(found, Check) else None


def assert_unique(checks: Sequence[Check]) -> None:
    """Raise `UsageError` naming both files when two tests declare one id."""
    by_id: dict[str, Check] = {}
    for declared in checks:
        first = by_id.setdefault(declared.id, declared)
        if (first.file, first.function) != (declared.file, declared.function):
            raise UsageError(
                f"check id {declared.id} is declared twice: "
                f"{first.file} ({first.function}) and {declared.file} ({declared.function})",
                "Change one of the two ids.",
            )
