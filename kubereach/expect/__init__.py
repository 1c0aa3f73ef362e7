"""The assertions that checks are written in: converge, then hold.

``expect(vantages).to_reach(address)`` first waits until the path works (objects may just have been applied), then
demands that a whole series of probes in a row succeeds. Negatives name the outcome that they expect and take a positive
control. Every expectation looks at all its vantages and addresses and reports all failures together.
"""

from __future__ import annotations

from kubereach.expect.affinity import tries
from kubereach.expect.barrier import must_stay_silent
from kubereach.expect.budget import within_budget
from kubereach.expect.dns import Query
from kubereach.expect.expectation import Expectation, expect
from kubereach.expect.facts import verify
from kubereach.expect.hold import hold_length
from kubereach.expect.notes import add_note
from kubereach.expect.overlays import cases_of, must_show
from kubereach.expect.reach import OWN
from kubereach.expect.settle import checking, current_check, informing
from kubereach.kube.service_proxy import proxies_by_node
from kubereach.model import dns_names
from kubereach.world import topology
from kubereach.world.load_balancer import (
    FOREIGN_CLASS,
    SELF_BALANCED,
    asking_for,
    free_address,
    must_have,
    only_for,
)

__all__ = [
    "FOREIGN_CLASS",
    "OWN",
    "SELF_BALANCED",
    "Expectation",
    "Query",
    "add_note",
    "asking_for",
    "cases_of",
    "checking",
    "current_check",
    "dns_names",
    "expect",
    "free_address",
    "hold_length",
    "informing",
    "must_have",
    "must_show",
    "must_stay_silent",
    "only_for",
    "proxies_by_node",
    "topology",
    "tries",
    "verify",
    "within_budget",
]
