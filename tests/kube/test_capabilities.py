"""What dry runs of Services tell of a cluster."""

from __future__ import annotations

from kubereach.kube import capabilities
from kubereach.kube.client import ApiError


class Server:
    """An API server that refuses, or forgets, some values."""

    def __init__(self, families=("IPv4", "IPv6"), refuses=(), forgets=()) -> None:
        self.families, self.refuses, self.forgets = list(families), refuses, forgets

    def create(self, obj, dry_run=False):
        assert dry_run
        spec = dict(obj["spec"])
        for value in spec.values():
            if value in self.refuses:
                raise ApiError(
                    422, "Invalid", f'Service "x" is invalid: spec: Invalid value: "{value}": not here', ""
                )
        kept = {key: value for key, value in spec.items() if value not in self.forgets}
        return {"spec": {**kept, "ipFamilies": self.families}}


def test_both_families() -> None:
    found = capabilities.ask(Server(["IPv6", "IPv4"]))
    assert found.families == ("IPv6", "IPv4")
    assert found.dual_stack_finding().present


def test_one_family_and_the_reason() -> None:
    finding = capabilities.ask(Server(refuses=["RequireDualStack"])).dual_stack_finding()
    assert not finding.present
    assert finding.evidence == "the API server rejects a dual-stack Service: not here"


def test_zones_by_either_name() -> None:
    assert capabilities.ask(Server()).same_zone == "PreferSameZone"
    older = capabilities.ask(Server(refuses=["PreferSameZone", "PreferSameNode"]))
    assert older.same_zone == "PreferClose"
    assert older.same_zone_finding(["a", "b"]).present
    assert not older.same_node_finding().present


def test_a_server_that_knows_no_such_field() -> None:
    found = capabilities.ask(Server(forgets=["PreferSameZone", "PreferSameNode", "PreferClose"]))
    assert not found.same_zone
    assert not found.same_node_finding().present
    assert "1.31" in found.same_zone_finding(["a", "b"]).evidence


def test_one_zone_or_a_node_without_any_is_not_enough() -> None:
    found = capabilities.ask(Server())
    assert not found.same_zone_finding(["a", "a"]).present
    assert not found.same_zone_finding(["a", "b", ""]).present
    assert found.same_zone_finding(["a", "b", "a"]).present
