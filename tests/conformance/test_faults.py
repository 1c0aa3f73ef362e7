"""The suites on labs with a fault: exactly the checks that it concerns do not pass, for the right verdict."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Runner

#: fault: (exit code, verdict of its checks, the checks)
CAUGHT = {
    "dns.cross-namespace-leak": (1, "fail", {"dns.no-leak"}),
    "dns.nxdomain-as-nodata": (1, "fail", {"dns.no-such-service"}),
    "proxy.no-reject": (1, "fail", {"clusterip.no-endpoints-refused"}),
    "lb.pending": (
        0,
        "unsupported",
        {
            "loadbalancer.assigned",
            "loadbalancer.from-nodes",
            "loadbalancer.from-outside",
            "loadbalancer.from-pods",
            "loadbalancer.includes-node-port",
            "loadbalancer.released",
        },
    ),
}


@pytest.mark.parametrize("fault", CAUGHT)
def test_exactly_its_checks_catch_it(fault: str, run_suite: Runner) -> None:
    code, verdict, checks = CAUGHT[fault]
    options = ["--fault", fault, "--set", "load_balancer_deadline=3"]
    result = run_suite(["{python}", "-m", "kubereach", "run", "--report-dir", "{report}", *options])
    assert result.code == code, result.output
    others = {
        check["id"]: check["verdict"] for check in result.report["checks"] if check["verdict"] != "pass"
    }
    assert others == dict.fromkeys(checks, verdict), result.output


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


def test_a_missing_search_list(run_suite: Runner) -> None:
    """Short names are lost with it, and with them the control of what must not be found."""
    run = ["{python}", "-m", "kubereach", "run", "--report-dir", "{report}", "--fault", "dns.search-missing"]
    result = run_suite(run)
    assert result.code == 1, result.output
    assert result.ids("fail") == {"dns.qualified", "dns.resolv-conf", "dns.short-name"}
    assert result.ids("error") == {"dns.no-leak"}
