"""Which program serves Services on a node, and what it lawfully does otherwise than kube-proxy."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kubereach.expect import affinity, negative
from kubereach.kube.service_proxy import Proxies, ServiceProxy
from kubereach.model.address import Address
from kubereach.model.errors import NotConforming, Unsupported
from kubereach.model.outcome import DENIED, OK, REFUSED, TIMEOUT, UNREACHABLE, Answer, Probe, SeriesResult
from kubereach.model.settings import Settings
from kubereach.probe.context import RunContext
from kubereach.probe.vantage import NODE, POD

PODS, OURS = "/api/v1/pods", "/api/v1/namespaces/kube-system/pods"
CONFIG = "/api/v1/namespaces/kube-system/configmaps/"


def pod(owner: str, node: str = "n1", kind: str = "DaemonSet", **env: str):
    name = f"kube-proxy-{node}" if kind == "Node" else f"{owner}-x7k2p"
    container = {"name": "c", "env": [{"name": key, "value": value} for key, value in env.items()]}
    return {
        "metadata": {"name": name, "ownerReferences": [{"kind": kind, "name": owner}]},
        "spec": {"nodeName": node, "containers": [container]},
    }


def found(*pods, path=PODS, **config: dict[str, str]):
    """What is found of node n1 where these pods and ConfigMaps are to be seen."""
    there = {path: {"items": list(pods)}}
    there |= {CONFIG + name.replace("_", "-"): {"data": data} for name, data in config.items()}
    return Proxies(SimpleNamespace(find=there.get)).on("n1")


CILIUM, BOTH = pod("cilium"), (pod("cilium"), pod("kube-proxy"))


@pytest.mark.parametrize(
    ("pods", "config", "words"),
    [
        ([pod("kube-proxy")], {}, "kube-proxy, mode unknown"),
        ([pod("kube-proxy")], {"kube_proxy": {"config.conf": 'kind: X\nmode: ""\n'}}, "(iptables in its"),
        ([pod("kube-proxy")], {"kube_proxy": {"config.conf": "mode: ipvs\n"}}, "(ipvs in its configuration)"),
        ([pod("n1", kind="Node")], {}, "kube-proxy"),
        ([CILIUM], {}, "Cilium"),
        ([CILIUM, pod("cilium-envoy")], {"cilium_config": {"kube-proxy-replacement": "true"}}, "Cilium"),
        (BOTH, {"cilium_config": {"kube-proxy-replacement": "true"}}, "Cilium"),
        (BOTH, {"cilium_config": {"kube-proxy-replacement": "false"}}, "kube-proxy"),
        (BOTH, {"cilium_config": {}}, "kube-proxy"),
        (BOTH, {}, "kube-proxy"),
        ([CILIUM], {"cilium_config": {"kube-proxy-replacement": "false"}}, None),
        ([pod("anetd")], {}, "Dataplane V2"),
        ([pod("calico-node", FELIX_BPFENABLED="true")], {}, "Calico"),
        ([pod("calico-node", FELIX_BPFENABLED="true"), pod("kube-proxy")], {}, "Calico"),
        ([pod("calico-node", FELIX_BPFENABLED="false")], {}, None),
        ([pod("calico-node"), pod("kube-proxy")], {}, "kube-proxy"),
        ([pod("antrea-agent")], {}, "Antrea"),
        ([pod("antrea-agent"), pod("kube-proxy")], {}, "kube-proxy"),
        ([pod("ovnkube-node")], {}, "OVN-Kubernetes"),
        ([pod("kube-router")], {}, "kube-router (IPVS)"),
        ([pod("kube-flannel-ds"), pod("kindnet"), pod("aws-node")], {}, None),
        ([pod("cilium-operator", kind="ReplicaSet")], {}, None),
        ([pod("cilium", node="n2")], {}, None),
        ([], {}, None),
    ],
)
def test_what_serves_a_node(pods, config, words: str | None) -> None:
    proxy = found(*pods, **config)
    assert (proxy is None) if words is None else (proxy is not None and words in str(proxy))


def test_only_kube_system_may_be_seen() -> None:
    assert "kube-proxy" in str(found(pod("kube-proxy"), path=OURS))


def test_nothing_may_be_seen() -> None:
    assert found(path="/nowhere") is None


@pytest.mark.parametrize(
    ("pods", "mode", "words", "ipvs"),
    [
        ([], "ipvs", "kube-proxy in mode ipvs", True),
        ([], "nftables", "kube-proxy in mode nftables", False),
        ([pod("calico-node")], "iptables", "kube-proxy in mode iptables", False),
        ([pod("kube-proxy")], "ipvs", "kube-proxy in mode ipvs", True),
        ([pod("kube-proxy")], "", "mode unknown", False),
        ([CILIUM], "iptables", "Cilium", False),
    ],
)
def test_kube_proxys_own_word(pods, mode: str, words: str, ipvs: bool) -> None:
    """k3s and MicroK8s have kube-proxy in a program of theirs: no pod tells of it, but it answers."""
    asked = []
    api = SimpleNamespace(find={PODS: {"items": pods}}.get)
    proxies = Proxies(api, lambda node: asked.append(node) or mode)
    for _ in range(2):
        proxy = proxies.on("n1")
        assert (words in str(proxy), proxy.ipvs) == (True, ipvs)
    assert len(asked) <= 1, "a node is asked once"


def test_null_lists() -> None:
    assert Proxies(SimpleNamespace(find={PODS: {"items": None}}.get)).by_node == {}
    bare = {"metadata": {"name": "x", "ownerReferences": None}, "spec": {}}
    assert Proxies(SimpleNamespace(find={PODS: {"items": [bare]}}.get)).by_node == {}


# --- refusals at the socket

AT_CONNECT = ServiceProxy("a replacement: Cilium (eBPF)", at_connect=True)
PACKETS = ServiceProxy("kube-proxy")
ADDRESS = Address("clusterip", "http", "10.96.0.9", 80)
BY_CALL = Answer(UNREACHABLE, detail="connect() gave EHOSTUNREACH: No route to host")
BY_CALL_DENIED = Answer(DENIED, detail="connect() gave EPERM: Operation not permitted")
BY_ROUTER = Answer(UNREACHABLE, detail="No route to host")
NO_ROUTE = Answer(UNREACHABLE, detail="connect() gave ENETUNREACH: Network is unreachable")
REFUSAL = Answer(REFUSED)


class FakeVantage(SimpleNamespace):
    """As good for a key as a real one."""

    __hash__ = object.__hash__


def vantage(told: list[str], proxy: ServiceProxy | None, kind: str = POD):
    bus = SimpleNamespace(emit=lambda event: told.append(getattr(event, "text", "")))
    context = RunContext(Settings(), bus, "nonce", "secret", proxy_on=lambda _: proxy)
    refusals = SimpleNamespace(take=lambda _: 0.0, empty=lambda: None)
    return FakeVantage(name=f"{kind}@n1", kind=kind, node="n1", context=context, refusals=refusals)


def judge(monkeypatch, proxy: ServiceProxy | None, *answers: Answer, conforming=None, kind=POD) -> list[str]:
    """What the report tells where these answers are all there is; raises as the expectation does."""

    def converge(seen, _series, conforms, _within=None):
        for path in seen:
            path.result = SeriesResult(tuple(Probe(answer, 0.001) for answer in answers), 0.1)
        return [path for path in seen if not conforms(path, path.result)]

    monkeypatch.setattr(negative, "converge", converge)
    monkeypatch.setattr(negative, "_control", lambda *_: 0.001)
    told: list[str] = []
    negative.negative([vantage(told, proxy, kind)], [ADDRESS], conforming, [ADDRESS], None)
    return [text for text in told if text]


@pytest.mark.parametrize("kind", [POD, NODE])
@pytest.mark.parametrize("answers", [[BY_CALL] * 2, [BY_CALL_DENIED] * 2, [BY_CALL, REFUSAL]])
def test_a_socket_load_balancer_refuses_in_connect(monkeypatch, answers, kind) -> None:
    (note,) = judge(monkeypatch, AT_CONNECT, *answers, kind=kind)
    assert "connect() returns E" in note
    assert "Cilium" in note


def test_a_refusal_is_a_refusal_everywhere(monkeypatch) -> None:
    assert judge(monkeypatch, AT_CONNECT, REFUSAL, REFUSAL) == []


@pytest.mark.parametrize("proxy", [PACKETS, None])
@pytest.mark.parametrize("answer", [BY_CALL, BY_CALL_DENIED])
def test_from_anybody_else_it_is_none(monkeypatch, proxy, answer) -> None:
    with pytest.raises(NotConforming, match="expected refused"):
        judge(monkeypatch, proxy, answer, answer)


@pytest.mark.parametrize("answer", [BY_ROUTER, NO_ROUTE, Answer(TIMEOUT), Answer(OK, pod="p")])
def test_what_is_no_refusal_of_a_socket_load_balancer(monkeypatch, answer) -> None:
    with pytest.raises(NotConforming):
        judge(monkeypatch, AT_CONNECT, BY_CALL, answer)


# --- affinity that IPVS prolongs


@pytest.mark.parametrize(
    ("proxy", "error"),
    [
        (ServiceProxy("kube-proxy (ipvs)", ipvs=True), Unsupported),
        (PACKETS, NotConforming),
        (AT_CONNECT, NotConforming),
        (None, NotConforming),
    ],
)
def test_clients_that_are_not_let_go(monkeypatch, proxy, error) -> None:
    where = [vantage([], proxy)]
    addresses = [Address("clusterip", "http", f"10.96.1.{n}", 80) for n in range(40)]
    kept = {(where[0].name, str(address)): "a" for address in addresses}
    same = SeriesResult((Probe(Answer(OK, pod="a"), 0.001),), 0.1)
    monkeypatch.setattr(affinity, "run_each", lambda series: [same for _ in series])
    with pytest.raises(error):
        affinity.to_leave_endpoint(where, addresses, after=3.0, kept=kept, endpoints=4)
