"""The suites on labs with a fault: exactly the checks that it concerns do not pass, for the right verdict."""

from __future__ import annotations

from typing import Any

import pytest

from kubereach.collect import read_checks, suites_folder
from kubereach.lab.faults import FAULTS as KNOWN
from tests.conformance.conftest import NOT_ONE_FAMILYS, NOT_THE_LABS, ROOT, WHOLE, Runner
from tests.conformance.fault_table import FAULTS

#: a whole run for each fault takes minutes: every test run has quick ones of these, `make faults` has all
SOME = ["dns.cross-namespace-leak", "dns.search-missing", "proxy.no-reject"]
CHOSEN = sorted(FAULTS) if WHOLE else SOME
QUICK = {check.id for check in read_checks(suites_folder(ROOT)) if check.level == "core" and not check.slow}
#: faults that no check is to catch: they keep kubereach from measuring
NOT_MEASURED = {"api.exec-forbidden"}


def test_every_fault_is_in_the_table() -> None:
    assert set(FAULTS) | NOT_MEASURED == set(KNOWN)


@pytest.mark.parametrize("fault", CHOSEN)
def test_exactly_its_checks_catch_it(fault: str, run_suite: Runner) -> None:
    caught = FAULTS[fault]
    # a fault must not make other checks impatient
    deadlines = ("load_balancer_deadline=3", "converge_deadline=8", "troubled_deadline=8")
    options = [
        "--fault",
        fault,
        *([] if WHOLE else ["--quick"]),
        *(f"--set={one}" for one in deadlines),
        *caught.options,
    ]
    result = run_suite(["{python}", "-m", "kubereach", "run", "--report-dir", "{report}", *options])
    expected = caught.verdicts if WHOLE else {i: w for i, w in caught.verdicts.items() if i in QUICK}
    assert result.code == (1 if caught.fail else 3 if caught.error else 0), result.output
    others = {
        check["id"]: check["verdict"]
        for check in result.report["checks"]
        if check["verdict"] != "pass" and not check["known_defect"] and not _is_absent(check)
    }
    others = {check: verdict for check, verdict in others.items() if not caught.is_open(check)}
    assert others == expected, result.output


def _is_absent(check: dict[str, Any]) -> bool:
    """Whether the lab has not what the check needs, faults or not."""
    return check["verdict"] == "unsupported" and check["id"] in NOT_THE_LABS | NOT_ONE_FAMILYS


def test_a_required_load_balancer_fails(run_suite: Runner) -> None:
    options = ["--fault", "lb.pending", "--set", "load_balancer_deadline=3", "--require", "loadbalancer"]
    run = [
        "{python}",
        "-m",
        "kubereach",
        "run",
        "loadbalancer.assigned",
        "--report-dir",
        "{report}",
        *options,
    ]
    result = run_suite(run)
    assert result.code == 1, result.output
    assert result.ids("fail") == {"loadbalancer.assigned"}
