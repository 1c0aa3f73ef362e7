"""Runs whose way to the API server breaks in every manner: green with all that is measured without, or exit code 3.

Never 0 with less measured, never 1, never for ever. `KUBEREACH_FAULTY_RUNS` says how many runs (`make nightly`: 500),
`KUBEREACH_FAULTY_SEED` with which seed they begin.
"""

from __future__ import annotations

import json
import os
import sys
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


def test_runs_behind_a_faulty_proxy(tmp_path: Path, run_suite: Runner) -> None:
    seeds = [f"{seed}:{RATES[seed % len(RATES)]}" for seed in range(FIRST, FIRST + RUNS)]
    settings = [word for setting in _SETTINGS for word in ("--set", setting)]
    run = [sys.executable, "-m", "kubereach", "run", "--kubeconfig", "{kubeconfig}", "--report-dir"]
    proxy = [
        sys.executable,
        str(ROOT / "tests" / "conformance" / "faulty_proxy.py"),
        str(tmp_path),
        str(JOBS),
    ]
    # the lab's own command line would fill in {report}
    words = [*proxy, "0:0", *seeds, "--", *run, "{report}", *settings, *CHECKS]
    script = tmp_path / "script"
    script.write_text(" ".join(f"'{word}'" for word in words))
    lab = ["{python}", "-m", "kubereach", "lab", "--nodes", "1", "run", "--", "sh", str(script)]
    result = run_suite(lab, timeout=60 + 60 * RUNS, env={"PYTHONPATH": str(ROOT)})
    results = [json.loads(line) for line in result.output.splitlines() if line.startswith('{"seed"')]
    assert len(results) == RUNS + 1, result.output
    whole = measured(report_of(tmp_path, 0))
    assert set(whole) == set(CHECKS), (tmp_path / "0" / "output").read_text()
    assert {verdict for verdict, _ in whole.values()} == {"pass"}
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
