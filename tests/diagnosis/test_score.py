"""Random faults on a simulated cluster: what explains the table is the fault, and nothing else is blamed."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest

from kubereach.diagnosis.conclusion import place_of
from kubereach.diagnosis.evidence import Row
from kubereach.diagnosis.hypotheses import Component
from kubereach.diagnosis.score import Explanation, explain
from tests.diagnosis.simulator import Fault, Simulated, drawn

#: faults that are drawn; `make nightly` draws 10,000
FAULTS = int(os.environ.get("KUBEREACH_SIMULATED", "400"))
#: losses that it takes to say anything of a place: fewer are chance
_ENOUGH = 6


def named(component: Component) -> tuple[frozenset[str], str, str]:
    """The nodes, the pod and the Service that a component names."""
    nodes = frozenset(component.nodes)
    words = [word for word in component[1:3] if word and word not in nodes]
    pod = next((word for word in words if word.startswith("pod-")), "")
    return nodes, pod, next((word for word in words if word in ("first", "second")), "")


def means(one: Explanation, fault: Fault) -> bool:
    """Whether an explanation names the place of a fault, or says that it does not tell the two apart."""
    places = [one.candidate.component, *one.candidate.alike, *(rival.component for rival, _ in one.rivals)]
    return any(named(place) == (fault.nodes, fault.pod, fault.service) for place in places)


def untrue(one: Explanation, faults: Sequence[Fault]) -> bool:
    """Whether an explanation blames a node, pod or Service that no fault has a part in."""
    if any(means(one, fault) for fault in faults):
        return False
    nodes, pod, service = named(one.candidate.component)
    return not any(
        nodes <= fault.nodes and pod in ("", fault.pod) and service in ("", fault.service) for fault in faults
    )


def table(seed: str, count: int) -> tuple[list[Fault], list[Row]]:
    rng = random.Random(seed)
    nodes = [f"n{number}" for number in range(rng.choice([2, 3, 3, 4]))]
    faults = [drawn(rng, nodes) for _ in range(count)]
    return faults, Simulated(nodes, rng, faults).table()


def test_one_random_fault() -> None:
    seed = random.randrange(10**6)
    asked, missed, wrong = 0, [], []
    for number in range(FAULTS):
        (fault,), rows = table(f"{seed}/{number}", 1)
        if sum(row.lost for row in rows) < _ENOUGH:
            continue
        asked += 1
        cover = explain(rows)
        if not cover or not means(cover[0], fault):
            missed.append(f"{number}: {fault}: {[one.candidate.component for one in cover]}")
        wrong += [f"{number}: {fault}: {one.candidate.component}" for one in cover if untrue(one, [fault])]
    assert asked > FAULTS / 2
    assert not wrong, f"seed {seed}: " + "\n".join(wrong)
    assert len(missed) <= 0.05 * asked, f"seed {seed}: " + "\n".join(missed)


def test_two_random_faults_at_once() -> None:
    seed = random.randrange(10**6)
    asked, missed, wrong = 0, [], []
    for number in range(FAULTS // 2):
        faults, rows = table(f"{seed}/{number}", 2)
        cover = explain(rows)
        wrong += [
            f"{number}: {[*map(str, faults)]}: {one.candidate.component}"
            for one in cover
            if untrue(one, faults)
        ]
        if len(cover) > 1:
            asked += 1
            if not all(any(means(one, fault) for one in cover) for fault in faults):
                missed.append(
                    f"{number}: {[*map(str, faults)]}: {[one.candidate.component for one in cover]}"
                )
    assert len(wrong) <= 0.01 * asked, f"seed {seed}: " + "\n".join(wrong)
    assert len(missed) <= 0.1 * asked, f"seed {seed}: " + "\n".join(missed)


def test_a_healthy_cluster_has_no_explanation() -> None:
    for number in range(30):
        assert not explain(Simulated(["n0", "n1", "n2"], random.Random(number)).table())


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_the_share_and_the_kind_of_packets_are_found(share: float) -> None:
    fault = Fault(
        "from n0 to n1",
        lambda row, route: (row.enters, route.node) == ("n0", "n1"),
        frozenset({"n0", "n1"}),
        packets=frozenset({"udp 8000 bytes"}),
        share=share,
    )
    (one,) = explain(Simulated(["n0", "n1", "n2"], random.Random(1), [fault]).table())
    lost = {packets: found for packets, found in one.shares.items() if found}
    assert lost == {"udp 8000 bytes": pytest.approx(share, rel=0.5)}
    assert place_of(one.candidate.component, str).object == "pod network from n0 to n1"
