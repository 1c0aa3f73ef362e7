"""The suites on labs with a fault, by `kubereach selftest`: quick ones of some. The whole table is `make selftest`."""

from __future__ import annotations

from kubereach.collect import read_checks, suites_folder
from kubereach.lab.faults import FAULTS
from kubereach.selftest.command import PAGE
from kubereach.selftest.document import document
from kubereach.selftest.table import TABLE
from tests.conformance.conftest import ROOT, Runner

#: whole runs on all faults take minutes: these are quick, and of three layers
SOME = ["dns.cross-namespace-leak", "dns.search-missing", "proxy.no-reject"]


def test_exactly_their_checks_catch_some(run_suite: Runner) -> None:
    faults = ",".join(SOME)
    command = ["{python}", "-m", "kubereach", "selftest", "--quick", "--fault", faults, "--jobs", "2"]
    result = run_suite(command, timeout=300)
    assert result.code == 0, result.output
    for fault in SOME:
        assert f"{fault} " in result.output, result.output


def test_the_page_is_as_the_table() -> None:
    page = document(FAULTS, TABLE, read_checks(suites_folder(ROOT)))
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page, "kubereach selftest --write writes it anew"


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
