"""One cluster, many runs: back to back, and at the same time."""

from __future__ import annotations

from tests.conformance.conftest import Runner
from tests.conformance.test_existing import in_lab, parts_of

#: what takes addresses that the run before, or another check, has just given back
_CHECKS = "loadbalancer.ip-mode loadbalancer.released loadbalancer.source-ranges nodeport.explicit"
_ROW = f"""
for number in 1 2; do echo "== row $number"; RUN {_CHECKS}; echo "code $?"; done
RUN {_CHECKS} >one 2>&1 & first=$!
RUN {_CHECKS} --report-dir two-report >two 2>&1; second=$?
wait $first
echo "== first"; cat one; echo "code $?"
echo "== second"; cat two; echo "code $second"
"""


def test_runs_back_to_back_and_at_the_same_time_do_not_meet(run_suite: Runner, tmp_path) -> None:
    result = in_lab(run_suite, f"cd {tmp_path}\n{_ROW}", "--nodes", "2")
    parts = parts_of(result.output)
    assert set(parts) == {"row 1", "row 2", "first", "second"}
    for part in parts.values():
        assert "4 passed" in part and "code 0" in part, part
