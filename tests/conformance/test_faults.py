"""The suites on labs with a fault, by `kubereach selftest`: quick ones of some. The whole table is `make selftest`."""

from __future__ import annotations

from tests.conformance.conftest import Runner

#: whole runs on all faults take minutes: these are quick, and of different layers
SOME = ["dns.search-missing", "proxy.no-reject"]


def test_exactly_their_checks_catch_some(run_suite: Runner) -> None:
    faults = ",".join(SOME)
    command = ["{python}", "-m", "kubereach", "selftest", "--quick", "--fault", faults, "--jobs", "2"]
    result = run_suite(command, timeout=300)
    assert result.code == 0, result.output
    for fault in SOME:
        assert f"{fault} " in result.output, result.output


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


def test_a_middlebox_is_told_from_a_service_that_answers(run_suite: Runner) -> None:
    """Both at once: it answers for a Service that is gone, and a pod of ours where no port is declared."""
    faults = ["--fault", "net.middlebox", "--fault", "proxy.undeclared-ports", "--proxy-mode", "iptables"]
    brief = ["--set", "settle_deadline=2", "--set", "converge_deadline=2"]
    checks = ["clusterip.undeclared-port", "lifecycle.recreated"]
    run = ["{python}", "-m", "kubereach", "run", *checks, *faults, *brief, "--report-dir", "{report}"]
    result = run_suite(run)
    assert result.code == 1, result.output
    assert result.ids("fail") == {"clusterip.undeclared-port"}
    assert result.ids("pass") == {"lifecycle.recreated"}
    assert "a middlebox answers for unassigned addresses, probed from " in result.output


def test_pods_with_an_injected_container_are_used_and_reported(run_suite: Runner) -> None:
    checks = ["clusterip.from-pod", "clusterip.from-node", "endpoints.scale"]
    options = ["--nodes", "1", "--fault", "workload.sidecar-injected", "--report-dir", "{report}"]
    result = run_suite(["{python}", "-m", "kubereach", "run", *checks, *options])
    assert result.code == 0, result.output
    assert result.ids("pass") == set(checks)
    (note,) = result.report["run"]["notes"]
    assert "containers that are not kubereach's run in its pods: istio-proxy" in note
    assert result.output.count("istio-proxy") == 1
