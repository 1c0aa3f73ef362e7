"""What a run knows and its vantages share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kubereach.model.errors import CannotMeasure
from kubereach.model.events import Bus
from kubereach.model.lateness import Lateness
from kubereach.model.settings import Settings

if TYPE_CHECKING:
    from kubereach.kube.service_proxy import ServiceProxy
    from kubereach.model.address import Address
    from kubereach.model.finding import Finding
    from kubereach.probe.path import Path


def _no_world(_: bool, __: int) -> AbstractContextManager[tuple[Address, int]]:
    raise CannotMeasure("a Service can be made in a world alone")


@dataclass(frozen=True)
class Answered:
    """Who answered on a path that was as expected: time.monotonic() and the names of pods."""

    at: float
    pods: frozenset[str]


@dataclass
class RunContext:
    """`nonce` is what every backend of this run answers with, so that no foreign responder is taken for ours.

    Anybody who reaches a backend reads it. What changes backends takes the `secret`, which no answer and no report has.
    """

    settings: Settings
    bus: Bus
    nonce: str
    secret: str = field(default="", repr=False)
    #: the API server's, as it says it; empty until the run has connected
    version: str = ""
    #: the IP version (4 or 6) of the cluster's first IP family: of Services that do not choose one, and of names that
    #: a vantage resolves
    ip_version: int = 4
    #: time.monotonic() until which what was applied with the world may still converge; afterwards it must just work
    settled: float = field(default_factory=time.monotonic)
    #: names of vantages for which something has failed, and since when: they are not waited for so long any more
    troubled: dict[str, float] = field(default_factory=dict)
    #: seconds that the slowest path so far has taken to follow a change: who is slow is not broken
    slowest: float = 0.0
    #: the same of those that service proxies serve and that were seen to follow it: not as expected at first, and then
    followed: float = 0.0
    #: how late the machines of the vantages were
    lateness: Lateness = field(default_factory=Lateness)
    #: finds out which layer of a path that failed is broken
    examine: Callable[[Path], Finding | None] | None = None
    #: cluster IPs of an IP version that no Service has, as far as that is known: asked only where somebody answers who
    #: should not
    unallocated: Callable[[int], Sequence[str]] = lambda _: ()
    #: what has been told of middleboxes, by vantage
    middleboxes: dict[str, str] = field(default_factory=dict)
    #: what serves Services on a node, by its name: asked only where service proxies lawfully differ
    proxy_on: Callable[[str], ServiceProxy | None] = lambda _: None
    #: makes a Service of an IP version (4 or 6) over the pods on every node, for as long as it is entered: its cluster
    #: IP, and its node port if it is to have one
    younger: Callable[[bool, int], AbstractContextManager[tuple[Address, int]]] = _no_world
    #: by vantage, protocol, host and port of paths that were as expected: who answered last, and when
    answered: dict[tuple[str, str, str, int], Answered] = field(default_factory=dict)
