"""Runs on labs that get a fault from outside: one in earnest, and what is said of others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kubereach.cli.main import main
from kubereach.selftest import injection
from kubereach.selftest import random_fault as drawn
from kubereach.selftest.ended import Ended
from kubereach.selftest.random_trials import (
    Outcome,
    RandomTrial,
    exit_code,
    judged,
    line,
    numbers,
    summary,
)
from kubereach.selftest.right_answer import Judged

FAULT = drawn.RandomFault(1, 4, drawn.Place(drawn.NODE_PORTS, (2,)))


def ended(folder: Path, told: dict[str, Any], report: dict[str, Any], code: int = 1) -> Outcome:
    (folder / injection.FILE).write_text(json.dumps(told))
    trial = RandomTrial(FAULT)
    return judged(Ended(trial, code, 40.0, 9.0, "one\nlast words\n", report), folder)


APPLIED = {"applied": True, "facts": {"nodes": [{"name": f"kubereach-{name}"} for name in "abc"]}}


def test_a_report_is_judged_by_what_the_lab_was(tmp_path: Path) -> None:
    cause = {
        "layer": "service-proxy", "object": "service proxy", "nodes": ["c"], "sentence": "it fails", "checks": [],
    }  # fmt: skip
    report = {"causes": [cause], "checks": [], "cluster": {"nodes": []}}
    found = ended(tmp_path, APPLIED, report)
    assert found.judged == Judged("failed", True, "service-proxy: it fails")
    assert line(found) == "   4  drop: packets, to node ports of node 2: failed, located, 0 false, 40 s"


def test_what_was_not_put_in_is_no_result(tmp_path: Path) -> None:
    found = ended(tmp_path, {"applied": False, "error": "nft: no"}, {})
    assert (found.judged, found.unmeasured) == (None, "nft: no")
    assert "not measured: nft: no" in line(found)
    (tmp_path / injection.FILE).unlink()
    without = judged(Ended(RandomTrial(FAULT), 0, 1.0, 1.0, "", {"causes": []}), tmp_path)
    assert without.unmeasured == "the run ended before the fault was there"


def test_a_run_without_a_report_is_no_result(tmp_path: Path) -> None:
    found = ended(tmp_path, APPLIED, {}, code=-9)
    assert found.judged is None
    assert found.unmeasured == "no report, exit code -9; last line: last words"


def outcome(
    detected: str = "failed", located: bool = True, false: tuple[str, ...] = (), **more: Any
) -> Outcome:
    return Outcome(FAULT, 1.0, Judged(detected, located, "said", false), "right", **more)


@pytest.mark.parametrize(
    ("others", "code"),
    [
        ([], 0),
        ([outcome("", False)], 0),
        ([outcome("", False)] * 2, 1),
        ([outcome(located=False)] * 2, 0),
        ([outcome(located=False)] * 3, 1),
        ([outcome(false=("worker",))], 1),
        ([outcome(contradicted=("worker",))], 1),
        ([Outcome(FAULT, 1.0, unmeasured="no TUN")], 3),
    ],
)
def test_the_aims(others: list[Outcome], code: int) -> None:
    assert exit_code([outcome()] * 19 + others) == code


def test_nothing_measured() -> None:
    unmeasured = [Outcome(FAULT, 1.0, unmeasured="no TUN")]
    assert exit_code(unmeasured) == 3
    assert "no fault could be measured" in summary(unmeasured)


def test_the_summary() -> None:
    some = [outcome(), outcome("noted"), outcome("", False), outcome(located=False, false=("a", "b"))]
    assert summary(some).strip() == (
        "of 4 faults: 3 (75 %) detected, 2 (50 %) located, 1 (25 %) with something false said; "
        "1 of them noted only; 2 false statements"
    )


def test_which_are_run() -> None:
    assert numbers(3, ()) == [1, 2, 3]
    assert numbers(3, (7, 9)) == [7, 9]


@pytest.mark.parametrize(
    "words",
    [
        ["--random=-1"],
        ["--only=0"],
        ["--random=2", "--quick"],
        ["--random=2", "--fault=dns.down"],
        ["--check=a.b"],
    ],
)
def test_what_cannot_be_asked_for(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", *words]) == 2
    assert "--random" in capsys.readouterr().err


def test_a_lab_that_gets_a_fault(tmp_path: Path) -> None:
    number = next(n for n in range(1, 9999) if _suits(drawn.draw(1, n)))
    checks = ["--check", "clusterip.from-pod", "--check", "nodes.mesh"]
    words = ["selftest", "--only", str(number), "--report-dir", str(tmp_path), *checks]
    command = [sys.executable, "-m", "kubereach", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert "failed, located, 0 false" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
    told = json.loads((tmp_path / f"random-1-{number}" / injection.FILE).read_text())
    assert told["applied"] and told["rules"]
    (kept,) = json.loads((tmp_path / "random.json").read_text())
    assert (kept["judged"]["detected"], kept["contradicted"]) == ("failed", [])


def _suits(fault: drawn.RandomFault) -> bool:
    """What the present diagnosis must find with two checks: all to cluster IPs is lost on one node."""
    place = fault.place
    alone = place.kind == drawn.CLUSTER_IPS and not place.everywhere
    return alone and fault.action == drawn.DROP and fault.match == drawn.Match()
