"""The table of one path: what others have shown counts, and what is not met again is blamed on nobody."""

from __future__ import annotations

from dataclasses import replace

from kubereach.diagnosis.evidence import DIRECT, Route, Row, by_endpoint
from kubereach.diagnosis.hypotheses import BETWEEN, SERVICE_ON, Component
from kubereach.diagnosis.table import Table

NODES = ("one", "two", "three")


def direct(client: str, node: str, lost: int = 0) -> Row:
    route = Route(f"pod-{node}", node, 60 - lost)
    return Row(f"pod@{client}", "pod", client, DIRECT, f"pod-{node}", "tcp", (route,), lost)


def by_service(client: str, lost: int = 0, service: str = "a/web") -> Row:
    routes = tuple(Route(f"pod-{node}", node, 20) for node in NODES)
    return Row(
        f"pod@{client}", "pod", client, "clusterip", service, "tcp", routes, lost, translator=client, service=service
    )  # fmt: skip


def mesh(*broken: set[str]) -> list[Row]:
    return [direct(a, b, 60 if {a, b} in broken else 0) for a in NODES for b in NODES]


def test_what_is_met_again_is_explained() -> None:
    own = [by_service("one", lost=9)]
    others = [
        by_service("one", lost=12),
        by_service("two"),
        by_service("three"),
        by_service("one", service="a/b"),
    ]
    found = Table([*own, *others, *mesh()]).explanation_of(own)
    assert found and found.candidate.component == Component(SERVICE_ON, "a/web", "one")


def test_what_is_not_met_again_is_blamed_on_nobody() -> None:
    own = [by_service("one", lost=9)]
    again = [by_service(node) for node in NODES for _ in range(12)]
    assert Table([*own, *again, *mesh()]).explanation_of(own) is None


def test_a_loss_of_this_row_alone_convicts_nobody() -> None:
    own = [by_service("one", lost=40)]
    assert Table([*own, by_service("two"), *mesh()]).explanation_of(own) is None


def test_what_was_measured_of_the_network_before_counts() -> None:
    own = [by_service("one", lost=10)]
    earlier = Table([*mesh({"one", "three"}), by_service("one", lost=20, service="a/older")])
    known = earlier.of_network()
    assert known == mesh({"one", "three"})
    found = Table([*own, by_service("two")], known).explanation_of(own)
    assert found and found.candidate.component == Component(BETWEEN, "one", "three")


def test_what_is_measured_now_takes_the_place_of_what_was_known() -> None:
    table = Table(mesh(), mesh({"one", "three"}))
    assert not any(row.lost for row in table.rows)


def test_a_path_that_lost_nothing_is_explained_by_what_its_probes_pass() -> None:
    own = [by_service("one")]
    found = Table([*own, *mesh({"one", "three"})]).explanation_of(own)
    assert found and found.candidate.component == Component(BETWEEN, "one", "three")
    assert Table([*own, *mesh()]).explanation_of(own) is None


def test_an_endpoint_that_never_answers_lacks_its_share() -> None:
    row = replace(
        by_service("one"), routes=(Route("a", "one", 30), Route("b", "two", 30), Route("c", "three", 0))
    )
    rows = by_endpoint([row, direct("one", "two")])
    assert [(one.routes[0].pod, one.lost) for one in rows] == [("a", 0), ("b", 0), ("c", 20), ("pod-two", 0)]
    assert rows[2].text.endswith("none by c")
