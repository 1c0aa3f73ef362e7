"""Runs whose way to the API server breaks in every manner: green with all that is measured without, or exit code 3.

Never 0 with less measured, never 1, never for ever. `KUBEREACH_FAULTY_RUNS` says how many runs (`make nightly`: 500),
`KUBEREACH_FAULTY_SEED` with which seed they begin.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conformance.conftest import ROOT, Runner

RUNS = int(os.environ.get("KUBEREACH_FAULTY_RUNS", "2"))
FIRST = int(os.environ.get("KUBEREACH_FAULTY_SEED", "1"))
#: runs at a time
JOBS = 3
#: chances of a fault for each request and connection, in turn
RATES = (0.02, 0.1, 0.3)
#: objects of their own, series that go on while something changes, negatives with a control, DNS
CHECKS = (
    "clusterip.from-pod",
    "clusterip.no-endpoints-refused",
    "dns.exact-address",
    "endpoints.scale",
    "nodeport.from-pods",
)
_SETTINGS = (
    "api_patience=15",
    "exec_timeout=15",
    "answer_margin=3",
    "watch_patience=20",
    "stop_deadline=30",
    "world_deadline=60",
)


def measured(report: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """The verdict of each check and the number of paths that it judged."""
    return {check["id"]: (check["verdict"], len(check["paths"])) for check in report["checks"]}


def report_of(folder: Path, seed: int) -> dict[str, Any]:
    file = folder / str(seed) / "report.json"
    return dict(json.loads(file.read_text())) if file.exists() else {"checks": []}


#: series that go on while something is changed, and the request that changes it
ONGOING = {"endpoints.rolling-update": "PATCH/deployments", "endpoints.live-connections": "PATCH/pods"}


def runs_behind(
    tmp_path: Path, run_suite: Runner, seeds: list[str], checks: Sequence[str]
) -> list[dict[str, Any]]:
    """What came of a run of `checks` for each seed; that of seed 0 has to be whole."""
    settings = [word for setting in _SETTINGS for word in ("--set", setting)]
    run = [sys.executable, "-m", "kubereach", "run", "--kubeconfig", "{kubeconfig}", "--report-dir"]
    proxy = [
        sys.executable,
        str(ROOT / "tests" / "conformance" / "faulty_proxy.py"),
        str(tmp_path),
        str(JOBS),
    ]
    # the lab's own command line would fill in {report}
    words = [*proxy, "0:0", *seeds, "--", *run, "{report}", *settings, *checks]
    script = tmp_path / "script"
    script.write_text(" ".join(f"'{word}'" for word in words))
    lab = ["{python}", "-m", "kubereach", "lab", "--nodes", "1", "run", "--", "sh", str(script)]
    result = run_suite(lab, timeout=60 + 60 * (len(seeds) + 1), env={"PYTHONPATH": str(ROOT)})
    results = [json.loads(line) for line in result.output.splitlines() if line.startswith('{"seed"')]
    assert len(results) == len(seeds) + 1, result.output
    whole = measured(report_of(tmp_path, 0))
    assert set(whole) == set(checks), (tmp_path / "0" / "output").read_text()
    assert {verdict for verdict, _ in whole.values()} == {"pass"}
    return results


def test_runs_behind_a_faulty_proxy(tmp_path: Path, run_suite: Runner) -> None:
    seeds = [f"{seed}:{RATES[seed % len(RATES)]}" for seed in range(FIRST, FIRST + RUNS)]
    results = runs_behind(tmp_path, run_suite, seeds, CHECKS)
    whole = measured(report_of(tmp_path, 0))
    wrong = []
    for one in results:
        report = report_of(tmp_path, one["seed"])
        if one["code"] == 3 or (one["code"] == 0 and measured(report) == whole):
            continue
        output = (tmp_path / str(one["seed"]) / "output").read_text()
        wrong.append(f"{one} {measured(report)}\n{output}")
    assert not wrong, "\n".join(wrong)
    codes = [one["code"] for one in results]
    sys.stdout.write(f"{codes.count(0)} of {len(codes)} runs were green\n")


def test_an_api_server_that_restarts_while_something_is_changed(tmp_path: Path, run_suite: Runner) -> None:
    """The streams of series that go on break; what they measured is measured again, and the run is green."""
    seeds = [f"{seed}:0:{at}" for seed, at in enumerate(ONGOING.values(), 1)]
    results = runs_behind(tmp_path, run_suite, seeds, list(ONGOING))
    whole = measured(report_of(tmp_path, 0))
    for one in results:
        report = report_of(tmp_path, one["seed"])
        output = (tmp_path / str(one["seed"]) / "output").read_text()
        assert (one["code"], measured(report)) == (0, whole), output
        if one["seed"] == 0:
            continue
        assert one["faults"] == {"restart": 1}
        notes = {check["id"]: check["notes"] for check in report["checks"]}
        broken = list(ONGOING)[one["seed"] - 1]
        assert any("measured again from its beginning: the stream to" in n for n in notes[broken]), output
