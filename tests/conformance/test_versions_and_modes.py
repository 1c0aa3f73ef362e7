"""Clusters of other versions of Kubernetes, and of other modes of kube-proxy: no failure, and only what they lack."""

from __future__ import annotations

import pytest

from kubereach.selftest.table import ABSENT
from tests.conformance.conftest import WHOLE, Runner

NODE, ZONE, IP_MODE = "topology.prefer-same-node", "topology.prefer-same-zone", "loadbalancer.ip-mode"
UDP = "endpoints.udp-after-scale-to-zero"
#: by version: what is unsupported there and not in the newest, with words of the reason
LACKING = {
    "1.29": {NODE: "since Kubernetes 1.31", ZONE: "since Kubernetes 1.31", IP_MODE: "since Kubernetes 1.30"},
    "1.30": {NODE: "since Kubernetes 1.31", ZONE: "since Kubernetes 1.31"},
    "1.31": {NODE: "new in Kubernetes 1.34"},
    "1.33": {NODE: "new in Kubernetes 1.34"},
    "1.37": {},
}
#: what becomes of UDP flows without an endpoint has been a defect since
DEFECT_SINCE = "1.32"


def _assert_lacking(result, version: str, also=frozenset()) -> None:
    messages = {c["id"]: c["message"] for c in result.report["checks"] if c["verdict"] == "unsupported"}
    assert messages.keys() - ABSENT.keys() == LACKING[version].keys() | also, result.output
    for check, words in LACKING[version].items():
        assert words in messages[check]


def _command(*options: str) -> list[str]:
    return ["{python}", "-m", "kubereach", "run", "--report-dir", "{report}", *options]


def test_what_a_version_has_not_is_unsupported(run_suite: Runner) -> None:
    version = "1.29"
    checks = [NODE, ZONE, IP_MODE, UDP, "clusterip.allocated"]
    result = run_suite(_command("--kubernetes-version", version, *checks))
    assert result.code == 0, result.output
    _assert_lacking(result, version)
    assert result.ids("pass") == {UDP, "clusterip.allocated"}, result.output
    assert result.report["cluster"]["version"] == f"v{version}.0"


@pytest.mark.parametrize("version", LACKING)
@pytest.mark.skipif(not WHOLE, reason="20 s each: make nightly has them")
def test_a_whole_run_at_a_version(run_suite: Runner, version: str) -> None:
    result = run_suite(_command("--kubernetes-version", version))
    assert result.code == 0, result.output
    assert result.report["verdict"] == "conformant", result.output
    _assert_lacking(result, version)
    assert result.ids("noted") == ({UDP} if version >= DEFECT_SINCE else set())


def test_the_iptables_mode(run_suite: Runner) -> None:
    """What differs from the nftables mode conforms, and is told."""
    checks = [
        "clusterip.undeclared-port",
        "clusterip.no-endpoints-refused",
        "nodeport.localhost",
        "proxy.mode",
    ]
    result = run_suite(
        _command("--proxy-mode", "iptables", "--nodes", "2", *checks, "clusterip.not-on-node-port")
    )
    assert result.code == 0, result.output
    assert result.ids("pass") == {*checks, "clusterip.not-on-node-port"}, result.output
    notes = {check["id"]: check["notes"] for check in result.report["checks"]}
    assert notes["proxy.mode"] == ["iptables on every node"]
    assert notes["nodeport.localhost"] == ["nodeport 127.0.0.1: answers at each of 2 vantages"]


def test_the_ipvs_mode(run_suite: Runner) -> None:
    """Affinity outlives its time there, which is no failure of the cluster."""
    checks = ["clusterip.undeclared-port", "clusterip.no-endpoints-refused", "affinity.expires", "proxy.mode"]
    result = run_suite(_command("--proxy-mode", "ipvs", "--nodes", "2", *checks))
    assert result.code == 0, result.output
    assert result.ids("pass") == {*checks} - {"affinity.expires"}, result.output
    (message,) = (c["message"] for c in result.report["checks"] if c["id"] == "affinity.expires")
    assert "kube-proxy in mode ipvs: IPVS keeps session affinity until" in message


@pytest.mark.parametrize(("mode", "lacking"), [("iptables", set()), ("ipvs", {"affinity.expires"})])
@pytest.mark.skipif(not WHOLE, reason="20 s each: make nightly has them")
def test_a_whole_run_in_a_mode(run_suite: Runner, mode: str, lacking: set[str]) -> None:
    result = run_suite(_command("--proxy-mode", mode))
    assert result.code == 0, result.output
    assert result.report["verdict"] == ("partial" if lacking else "conformant"), result.output
    assert result.ids("unsupported") - ABSENT.keys() == lacking


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--kubernetes-version", "1.28"], "the lab plays Kubernetes 1.29 to 1.37, not 1.28"),
        (
            ["--proxy-mode", "userspace"],
            "unknown proxy mode userspace: the lab simulates nftables, iptables, ipvs",
        ),
        (["--ip-family", "ipv5"], "unknown IP family ipv5: choose one of ipv4, ipv6"),
        (["--target", "kind", "--proxy-mode", "ipvs"], "--kind-proxy-mode"),
        (["--context", "prod", "--ip-family", "ipv6"], "works with the lab only"),
        (["--context", "prod", "--kubernetes-version", "1.30"], "works with the lab only"),
    ],
)
def test_what_cannot_be_played_is_said(run_suite: Runner, options: list[str], words: str) -> None:
    result = run_suite(_command(*options))
    assert result.code == 2, result.output
    assert words in result.output
