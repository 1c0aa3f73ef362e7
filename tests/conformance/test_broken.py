"""Quick runs on labs that were broken by hand: exactly the checks that it concerns do not pass.

What the lab can be made to break by itself is in kubereach/selftest/table.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from kubereach.run.catalogue import read_checks, suites_folder
from tests.conformance.conftest import ROOT, WHOLE, RunResult, run_command

ALL = {check.id for check in read_checks(suites_folder(ROOT)) if check.level == "core" and not check.slow}

#: need no packet between the cluster's nodes or to its Services, or none that any of the breakages below touches
LOCAL = {"affinity.default-timeout", "dns.resolv-conf", "nodeport.allocated"}
#: what answers by name, or asks DNS itself
NAMED = {
    "dns.exact-address",
    "dns.every-replica",
    "dns.large-answers",
    "dns.no-leak",
    "dns.no-such-family",
    "dns.no-such-service",
    "dns.parallel-queries",
    "dns.ptr",
    "dns.qualified",
    "dns.short-name",
    "dns.srv",
    "dns.tcp",
    "externalname.cname",
    "externalname.to-service",
    "headless.all-pods",
    "headless.hostname-subdomain",
    "headless.not-ready",
    "headless.srv",
    "headless.stateful-names",
    "nodeport.includes-clusterip",
}
#: what opens a node port on every node
NODE_PORTS = {
    "nodeport.closed-after",
    "nodeport.every-node",
    "nodeport.explicit",
    "nodeport.from-nodes",
    "nodeport.from-pods",
    "nodeport.source-ip-cluster",
    "nodes.mesh",
    "ports.udp",
}
#: have one or two endpoints, which a breakage between two nodes may or may not concern
ANYWHERE = {"endpoints.manual", "headless.hostname-subdomain"}

_DROP_DNS = """
    nsenter --net=/run/netns/pod-$uid nft '
        table ip broken { chain in { type filter hook input priority 0; meta l4proto {tcp, udp} th dport 53 drop; }; }'
"""
_REPLICAS = "$(kubectl -n kube-system get pods -l k8s-app=kube-dns -o 'jsonpath={.items[*].metadata.uid}')"
_DROP_NODE_PORTS = """
    ip netns exec kubereach-worker nft '
        define mine = 172.18.0.3
        table ip broken {
            chain in {
                type filter hook prerouting priority -150;
                ct state new ip daddr $mine meta l4proto {tcp, udp} th dport 30000-32767 drop
            }
            chain out {
                type filter hook output priority -150;
                ct state new ip daddr $mine meta l4proto {tcp, udp} th dport 30000-32767 drop
            }
        }'
"""
#: how each is made, and the checks that may not pass then
BREAKAGES = {
    "both DNS replicas deaf": (f"for uid in {_REPLICAS}; do {_DROP_DNS} done", NAMED),
    "one DNS replica deaf": (f"set -- {_REPLICAS}; uid=$1; {_DROP_DNS}", NAMED),
    "one node's table gone": (
        "ip netns exec kubereach-worker nft delete table ip kube-proxy",
        # a replica, or a pod, is asked at its own address, which no Service rule is needed for
        ALL - LOCAL - {"clusterip.burst", "dns.every-replica", "nodes.no-snat"},
    ),
    "no route between two nodes": (
        "ip netns exec kubereach-worker ip route replace blackhole 10.244.2.0/24",
        # kubernetes.default ends at the first node
        ALL - LOCAL - {"clusterip.api-server", "clusterip.burst"},
    ),
    "node ports closed on one node": (_DROP_NODE_PORTS, NODE_PORTS),
}
#: the others take a minute and more each: `make nightly` has them
CHOSEN = list(BREAKAGES) if WHOLE else ["one DNS replica deaf", "node ports closed on one node"]


@pytest.fixture(scope="module")
def broken_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[RunResult]]]:
    """A run on each broken lab, three at a time: most of their time is waiting for what does not come."""
    with ThreadPoolExecutor(3) as pool:
        yield {
            name: pool.submit(_run_broken, breakage, tmp_path_factory.mktemp("broken"))
            for name, (breakage, _) in BREAKAGES.items()
            if name in CHOSEN
        }


def _run_broken(breakage: str, folder: Path) -> RunResult:
    # what does not come is waited for in nearly every check
    soon = "--set converge_deadline=8 --set dns_timeout=1"
    run = f"{{python}} -m kubereach run --kubeconfig=$KUBECONFIG --report-dir {{report}} --quick {soon}"
    script = f"set -e\n{breakage}\n{run}"
    command = ["{python}", "-m", "kubereach", "lab", "run", "--", "sh", "-c", script]
    return run_command(command, folder, timeout=300)


@pytest.mark.parametrize("name", CHOSEN)
def test_exactly_what_it_concerns_fails(name: str, broken_runs: dict[str, Future[RunResult]]) -> None:
    result = broken_runs[name].result()
    assert result.code == 1, result.output
    assert result.report["verdict"] == "not conformant"
    by_chance = ANYWHERE if name == "no route between two nodes" else set()
    expected = BREAKAGES[name][1] - by_chance
    missed = (result.ids("fail") | result.ids("error")) - by_chance
    assert missed == expected, (
        f"not concerned: {sorted(missed - expected)}, not caught: {sorted(expected - missed)}\n{result.output}"
    )
    for check in result.report["checks"]:
        if check["verdict"] == "error":
            # only where a control on the broken path says that silence would prove nothing
            assert "control" in check["message"], check


def test_a_failure_names_the_place(broken_runs: dict[str, Future[RunResult]]) -> None:
    result = broken_runs["node ports closed on one node"].result()
    for check in result.report["checks"]:
        for failure in check["failures"]:
            assert "//172.18.0.3:3" in failure["address"], failure


@pytest.mark.skipif(not WHOLE, reason="that lab takes half a minute: make nightly has it")
def test_a_failure_names_the_node(broken_runs: dict[str, Future[RunResult]]) -> None:
    result = broken_runs["one node's table gone"].result()
    reach = next(check for check in result.report["checks"] if check["id"] == "clusterip.from-pod")
    assert {failure["vantage"] for failure in reach["failures"]} == {"pod@worker"}
