"""What a run's report says of the suites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubereach.selftest.ended import Ended
from kubereach.selftest.judging import Judgement, judge
from kubereach.selftest.row import Row, by, recovers, stops
from kubereach.selftest.trial import Trial

FAULT = "proxy.no-hairpin"


def check(id: str, verdict: str = "pass", **more: Any) -> dict[str, Any]:
    return {"id": id, "verdict": verdict, "known_defect": None, **more}


def judged(row: Row, *checks: dict[str, Any], code: int = 1, fault: str = FAULT, **more: Any) -> Judgement:
    nodes = [f"kubereach-{name}" for name in ("control-plane", "worker", "worker2")]
    report = {
        "checks": list(checks),
        "features": {},
        "run": {"error": None},
        "cluster": {"nodes": nodes},
        **more,
    }
    return judge(Ended(Trial(fault, row), code, 1.0, 1.0, "", report))


def test_exactly_its_checks() -> None:
    found = judged(by("a.b", noted=["a.c"]), check("a.b", "fail"), check("a.c", "noted"), check("a.d"))
    assert (found.detected, found.attributed, found.located, found.problems) == (True, True, None, ())
    assert found.caught_by == {"a.b", "a.c"}


@pytest.mark.parametrize(
    ("checks", "detected", "problem"),
    [
        ([check("a.b")], False, "not caught by: a.b"),
        ([check("a.b", "error")], True, "another verdict: a.b (error, not fail)"),
        ([check("a.b", "fail"), check("a.c", "fail")], True, "unrelated failure: a.c"),
        ([check("a.b", "fail"), check("a.c", "error")], True, "unrelated failure: a.c"),
    ],
)
def test_what_is_wrong(checks: list[dict[str, Any]], detected: bool, problem: str) -> None:
    found = judged(by("a.b"), *checks)
    assert (found.detected, found.attributed, found.problems) == (detected, False, (problem,))


def test_what_labs_have_not_and_known_defects_are_no_failures() -> None:
    checks = [check("ports.sctp", "unsupported"), {**check("a.c", "noted"), "known_defect": {"issue": "#1"}}]
    assert judged(by("a.b"), check("a.b", "fail"), *checks).problems == ()


def test_of_several_cases_the_worst_counts() -> None:
    assert judged(by("a.b"), check("a.b"), check("a.b", "fail"), check("a.b")).attributed


def test_what_is_a_matter_of_luck() -> None:
    row = by("a.b", perhaps=["a.*"])
    assert judged(row, check("a.b", "fail"), check("a.c", "fail")).attributed
    assert judged(row, check("a.b", "fail"), check("b.c", "fail")).attributed is False


def test_a_false_alarm() -> None:
    found = judged(Row(), check("a.b", "fail"), fault="healthy")
    assert (found.detected, found.attributed, found.problems) == (None, None, ("false alarm: a.b",))


def cause(layer: str, *nodes: str, object: str = "something", checks: Any = ("a.b",)) -> dict[str, Any]:
    return {"layer": layer, "nodes": list(nodes), "object": object, "checks": list(checks)}


@pytest.mark.parametrize(
    ("causes", "located"),
    [
        ([cause("service-proxy", "every node"), cause("dns")], True),
        ([cause("service-proxy", "worker")], True),
        ([cause("dns"), cause("service-proxy")], False),
        ([], False),
    ],
)
def test_the_layer_of_the_first_cause(causes: list[dict[str, Any]], located: bool) -> None:
    found = judged(by("a.b"), check("a.b", "fail"), causes=causes)
    assert found.located is located
    assert bool(found.problems) is not located


@pytest.mark.parametrize(
    ("fault", "first", "problem"),
    [
        ("node.forwarding-off", cause("node", "worker2"), ""),
        ("node.forwarding-off", cause("node", "worker"), "located in node on worker, expected node on worker2"),
        ("node.forwarding-off", cause("node"), "located in node, expected node on worker2"),
        ("net.node-pair-cut", cause("pod-network", object="pod network from control-plane to worker2"), ""),
        (
            "net.node-pair-cut",
            cause("pod-network", "worker2"),
            "located in pod-network on worker2, expected pod-network on control-plane, worker2",
        ),
    ],
)  # fmt: skip
def test_the_nodes_of_the_first_cause(fault: str, first: dict[str, Any], problem: str) -> None:
    found = judged(by("a.b"), check("a.b", "fail"), fault=fault, causes=[first])
    assert found.problems == ((problem,) if problem else ())


def test_no_cause_may_put_what_the_fault_broke_down_to_another_layer() -> None:
    causes = [cause("dns", checks=["dns.tcp"]), cause("service-proxy", checks=["headless.many", "by.chance"])]
    failed = [check(one, "fail") for one in ("dns.tcp", "headless.many")]
    row = by("dns.tcp", "headless.many", perhaps=["by.*"])
    found = judged(row, *failed, fault="dns.refuses-tcp", causes=causes)
    assert found.problems == ("attributed to service-proxy: headless.many",)
    assert judged(row, *failed, fault="dns.refuses-tcp", causes=causes[:1]).problems == ()


def test_faults_in_one_place_are_looked_for_among_three_nodes() -> None:
    assert "--nodes=2" in Trial("dns.down", by("a.b")).arguments(Path("r"))
    for trial in (Trial("node.forwarding-off", by("a.b")), Trial("dns.down", by("a.b"), thorough=True)):
        assert "--nodes=2" not in trial.arguments(Path("r"))


def test_no_verdict_on_the_network() -> None:
    error = {"run": {"error": {"message": "exec into pod a/b is forbidden"}}}
    assert judged(stops("is forbidden"), code=3, fault="api.exec-forbidden", **error).problems == ()
    assert judged(stops("is forbidden"), code=0, fault="api.exec-forbidden").detected is False
    failed = judged(stops("is forbidden"), check("a.b", "fail"), code=1, fault="api.exec-forbidden", **error)
    assert failed.problems[0] == "a verdict on the network: a.b"
    assert judged(recovers(), check("a.b"), code=0, fault="api.slow").note == "recovered"


def test_what_this_machine_cannot_have() -> None:
    features = {"sctp": {"present": False, "evidence": "the kernel has none"}}
    found = judged(by("ports.sctp", needs="sctp"), code=0, features=features)
    assert (found.detected, found.problems, found.unmeasurable) == (None, (), "the kernel has none")


def test_a_run_that_left_no_report() -> None:
    found = judge(Ended(Trial(FAULT, by("a.b")), 3, 1.0, 1.0, "one\ntwo\n"))
    assert found.problems == ("no report, exit code 3; last line: two",)
