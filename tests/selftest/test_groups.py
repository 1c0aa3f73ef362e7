"""Faults that share a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kubereach.selftest.command import _without
from kubereach.selftest.ended import Ended
from kubereach.selftest.groups import groups, together
from kubereach.selftest.judging import Judgement, judge_together
from kubereach.selftest.row import Row, by, recovers, stops
from kubereach.selftest.table import TABLE
from kubereach.selftest.trial import Trial, apart, trials

#: options that other checks than those that ask for them do not see
FOR_ONE_CHECK = re.compile("--(lb-provider|external-name)=")
#: two faults of different topics, and what each makes fail
NAMES = ("dns.no-ptr", "proxy.no-hairpin")
PTR, HAIRPIN = ("dns.ptr",), tuple(TABLE["proxy.no-hairpin"].fail)


def test_every_fault_is_in_one_run() -> None:
    found = groups(TABLE)
    assert sorted(name for group in found for name in group) == sorted(TABLE)
    assert len(found) < len(TABLE) / 2


def test_faults_that_share_a_run_are_told_apart_by_their_checks() -> None:
    for group in groups(TABLE):
        rows = [TABLE[name] for name in group]
        # what else a run is asked for with the option of one must be nothing to the others
        options = {option for row in rows for option in row.options}
        assert (
            all(FOR_ONE_CHECK.match(option) for option in options) or len({row.options for row in rows}) == 1
        )
        for of in (lambda check: check, lambda check: check.split(".")[0]):
            traits = [{of(check) for check in row.verdicts} for row in rows]
            assert sum(map(len, traits)) == len(set().union(*traits)), group
            if "--dual-stack" in options or not rows[0].fail:
                break  # different checks are enough


@pytest.mark.parametrize(
    "row",
    [
        by(error=["a.c"]),
        by("a.b", unsupported=["a.c"]),
        by("a.b", perhaps=["*"]),
        by("a.b", full_length=True),
        by(*(f"a.{n}" for n in range(9))),
        stops("is forbidden"),
        recovers("--dual-stack"),
    ],
)
def test_who_is_run_alone(row: Any) -> None:
    rows = {"dns.no-ptr": row, "proxy.no-hairpin": by("b.c"), "lb.pending": by("c.d")}
    assert set(groups(rows)) == {("dns.no-ptr",), ("proxy.no-hairpin", "lb.pending")}


def test_an_option_for_one_check_and_a_broken_control_keep_nobody_apart() -> None:
    rows = {
        "dns.no-ptr": by("a.b", error=["c.d"]),
        "lb.pending": by("b.c", options=["--lb-provider=metallb"]),
    }
    assert groups(rows) == [("dns.no-ptr", "lb.pending")]
    shared = together(rows.values())
    assert shared.options == ("--lb-provider=metallb",)
    assert shared.verdicts == {"a.b": "fail", "b.c": "fail", "c.d": "error"}
    rows["lb.pending"] = by("c.e", options=["--lb-provider=metallb"])
    assert len(groups(rows)) == 2


def test_what_a_healthy_lab_tells_cannot_be_measured_is_not_run() -> None:
    sctp = Trial("proxy.sctp-ignored", TABLE["proxy.sctp-ignored"])
    other = Trial("dns.no-ptr", TABLE["dns.no-ptr"])
    report = {"features": {"sctp": {"present": False, "evidence": "kernels without SCTP"}}}
    planned = [sctp, other]
    assert _without(planned, Ended(other, 1, 1.0, 1.0, "", report)) == []
    healthy = trials()[0]
    assert _without(planned, Ended(healthy, 3, 1.0, 1.0, "no lab", {})) == []
    assert planned == [sctp, other]
    (found,) = _without(planned, Ended(healthy, 0, 1.0, 1.0, "", report))
    assert (found.name, found.unmeasurable, found.problems) == (sctp.fault, "kernels without SCTP", ())
    assert planned == [other]
    report["features"]["sctp"] = {"present": True}
    assert _without([sctp], Ended(healthy, 0, 1.0, 1.0, "", report)) == []


def test_faults_of_one_topic_or_sort_keep_apart() -> None:
    assert len(groups({"dns.no-ptr": by("a.b"), "proxy.no-hairpin": by("a.c")})) == 2
    assert len(groups({"dns.no-ptr": by("a.b"), "proxy.no-hairpin": by(noted=["b.c"])})) == 2
    assert (
        len(groups({"dns.no-ptr": by("a.b"), "proxy.no-hairpin": by("b.c", options=["--dual-stack"])})) == 2
    )
    # one is in one place
    assert len(groups({"dns.no-ptr": by("a.b"), "proxy.other-mode": by("b.c")})) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (by(noted=["a.b"]), by(noted=["a.c"])),
        (by("a.b", options=["--dual-stack"]), by("a.c", options=["--dual-stack"])),
    ],
)
def test_faults_of_info_checks_and_those_with_options_share_runs_within_a_topic(one: Row, other: Row) -> None:
    rows = dict(zip(NAMES, (one, other), strict=True))
    assert groups(rows) == [NAMES]
    assert together(rows.values()).options == one.options
    assert len(groups(dict.fromkeys(NAMES, one))) == 2


def test_those_asked_for_and_thorough_runs_are_alone() -> None:
    for planned in (trials(NAMES), trials(thorough=True)):
        assert all(len(trial.faults) <= 1 for trial in planned)
    shared = next(trial for trial in trials() if len(trial.faults) > 1)
    assert f"--fault={','.join(shared.faults)}" in shared.arguments(Path("r"))
    assert [(one.fault, one.row) for one in apart(shared)] == [(n, TABLE[n]) for n in shared.faults]


def cause(layer: str, *checks: str) -> dict[str, Any]:
    return {"layer": layer, "object": "", "nodes": [], "checks": list(checks)}


CAUSES = (cause("dns", *PTR), cause("service-proxy", *HAIRPIN))


def judged(
    *failing: str, causes: Any = CAUSES, code: int = 1, error: Any = None, verdict: str = "fail"
) -> tuple[list[Judgement], list[str]]:
    report = {
        "checks": [{"id": check, "verdict": verdict, "known_defect": None} for check in failing],
        "causes": list(causes),
        "features": {},
        "run": {"error": error},
        "cluster": {"nodes": ["kubereach-control-plane", "kubereach-worker"]},
    }
    row = together(TABLE[name] for name in NAMES)
    return judge_together(Ended(Trial(",".join(NAMES), row), code, 3.0, 4.0, "", report))


def test_a_run_that_is_as_all_of_them_say_counts_for_each() -> None:
    (first, second), problems = judged(*PTR, *HAIRPIN)
    assert problems == []
    assert (first.name, first.caught_by, first.cpu) == ("dns.no-ptr", {"dns.ptr"}, 2.0)
    assert (second.name, second.caught_by) == ("proxy.no-hairpin", set(HAIRPIN))
    for one in (first, second):
        assert (one.detected, one.attributed, one.located, one.problems) == (True, True, True, ())


NOT_MEASURED = [
    f"another verdict: {', '.join(f'{check} (error, not fail)' for check in sorted((*PTR, *HAIRPIN)))}"
]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (lambda: judged(*PTR), [f"not caught by: {', '.join(sorted(HAIRPIN))}"]),
        (lambda: judged(*PTR, *HAIRPIN, "nodes.mesh"), ["unrelated failure: nodes.mesh"]),
        (lambda: judged(*PTR, *HAIRPIN, verdict="error"), NOT_MEASURED),
        (lambda: judged(*PTR, *HAIRPIN, code=3), ["exit code 3, expected 1"]),
        (lambda: judged(*PTR, *HAIRPIN, error={"message": "lost"}), ["not measured: lost"]),
        (lambda: judged(*PTR, *HAIRPIN, causes=CAUSES[:1]), ["proxy.no-hairpin located in no layer"]),
        (
            lambda: judged(*PTR, *HAIRPIN, causes=[CAUSES[0], cause("api", *HAIRPIN)]),
            [f"attributed to api: {', '.join(sorted(HAIRPIN))}", "proxy.no-hairpin located in api"],
        ),
        (
            lambda: judged(*PTR, *HAIRPIN, causes=[cause("dns", *PTR, *HAIRPIN)]),
            [f"attributed to dns: {', '.join(sorted(HAIRPIN))}", "proxy.no-hairpin located in dns"],
        ),
        (
            lambda: judged(*PTR, *HAIRPIN, causes=[*CAUSES, cause("api", HAIRPIN[0])]),
            [f"attributed to api: {HAIRPIN[0]}"],
        ),
    ],
)
def test_anything_else_counts_for_none_and_says_why(found: Any, why: list[str]) -> None:
    assert found() == ([], why)


def test_what_all_recover_from() -> None:
    report = {"checks": [], "causes": [], "features": {}, "run": {"error": None}, "cluster": {"nodes": []}}
    names = "api.busy,api.slow"
    found, problems = judge_together(
        Ended(Trial(names, together([recovers(), recovers()])), 0, 1.0, 1.0, "", report)
    )
    assert [(one.detected, one.attributed, one.note) for one in found] == [(None, True, "recovered")] * 2
    assert problems == []


def test_a_run_without_a_report_says_its_last_words() -> None:
    row = together(TABLE[name] for name in NAMES)
    ended = Ended(Trial(",".join(NAMES), row), 2, 3.0, 4.0, "begun\nno room\n", {})
    assert judge_together(ended) == ([], ["no report, exit code 2; last line: no room"])
