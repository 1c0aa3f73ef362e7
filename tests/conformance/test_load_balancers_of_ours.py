"""Load balancers by options: addresses of our own where nobody gives any, and providers' annotations."""

from __future__ import annotations

from tests.conformance.conftest import Runner

#: what only a controller's own addresses show
ITS_OWN = {
    "loadbalancer.annotations",
    "loadbalancer.assigned",
    "loadbalancer.class",
    "loadbalancer.external-local",
    "loadbalancer.from-outside",
    "loadbalancer.given-up",
    "loadbalancer.released",
    "loadbalancer.requested-address",
    "loadbalancer.source-ranges-outside",
    "loadbalancer.udp-outside",
}


def test_what_holds_in_the_cluster_is_seen_without_a_controller(run_suite: Runner) -> None:
    run = ["{python}", "-m", "kubereach", "run", "loadbalancer.*", "lifecycle.type-changes"]
    options = ["--fault", "lb.pending", "--self-load-balancer", "--report-dir", "{report}"]
    result = run_suite([*run, *options])
    assert result.code == 0, result.output
    assert result.ids("unsupported") == ITS_OWN
    assert {"loadbalancer.from-pods", "loadbalancer.source-ranges", "loadbalancer.udp"} <= result.ids("pass")
    reasons = {c["message"] for c in result.report["checks"] if c["verdict"] == "unsupported"}
    assert all("assigns the load-balancer addresses, from 198.51.100.0/24" in reason for reason in reasons), (
        reasons
    )
    paths = [path for check in result.report["checks"] for path in check["paths"]]
    assert any("//198.51.100." in path["address"] for path in paths)


def test_a_fault_of_the_service_proxy_is_seen_all_the_same(run_suite: Runner) -> None:
    run = ["{python}", "-m", "kubereach", "run", "loadbalancer.source-ranges", "loadbalancer.from-pods"]
    options = ["--fault", "lb.pending,proxy.source-ranges-ignored", "--self-load-balancer"]
    result = run_suite([*run, *options, "--set", "converge_deadline=3", "--report-dir", "{report}"])
    assert result.code == 1, result.output
    assert result.ids("fail") == {"loadbalancer.source-ranges"}


def test_a_range_that_is_none_is_wrong_usage(run_suite: Runner) -> None:
    run = ["{python}", "-m", "kubereach", "run", "loadbalancer.assigned", "--self-load-balancer"]
    result = run_suite([*run, "--set", "self_load_balancer_range=300.0.0.0/8", "--report-dir", "{report}"])
    assert result.code == 2, result.output
    assert "self_load_balancer_range" in result.output


def test_what_a_provider_declares_has_to_hold(run_suite: Runner) -> None:
    run = ["{python}", "-m", "kubereach", "run", "loadbalancer.annotations", "loadbalancer.requested-address"]
    options = ["--lb-provider", "metallb", "--report-dir", "{report}"]
    asked = {"loadbalancer.annotations", "loadbalancer.requested-address"}
    result = run_suite([*run, *options])
    assert result.ids("pass") == asked, result.output
    notes = [note for check in result.report["checks"] for note in check["notes"]]
    assert "address-pool was skipped: it needs --lb-value pool" in notes
    result = run_suite([*run, *options, "--fault", "lb.requested-address-ignored"])
    assert result.ids("fail") == asked, result.output
