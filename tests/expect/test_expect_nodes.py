"""What nodes say of themselves: connection tracking, mode and health of service proxies; the signals of a path."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kubereach.expect import proxies, signals, tracking
from kubereach.kube.cluster import Node
from kubereach.kube.service_proxy import proxies_by_node
from kubereach.model.errors import CannotMeasure, NotConforming, Unsupported
from kubereach.model.outcome import OK, REFUSED, Answer, Probe, SeriesResult
from kubereach.model.settings import Settings
from kubereach.world import proxy_mode

NODES = {name: Node(name, f"192.0.2.{number}") for number, name in enumerate(("n1", "n2"))}
CLUSTER = SimpleNamespace(node=NODES.__getitem__)


class Told(list):
    """A bus that keeps what is told."""

    def emit(self, event) -> None:
        self.append(getattr(event, "text", ""))


def nodes(told, files=None, **settings):
    def read_file(self, path):
        if not files:
            raise CannotMeasure(f"cannot read {path}")
        return files[self.node][path.rpartition("_")[2]]

    kind = type("Vantage", (SimpleNamespace,), {"read_file": read_file, "__hash__": object.__hash__})
    context = SimpleNamespace(bus=told, settings=Settings(**settings), ip_version=4)
    return [kind(name=f"node@{name}", node=name, context=context) for name in NODES]


def answering(monkeypatch, module, *answers: Answer) -> None:
    results = [SeriesResult((Probe(answer, 0.01),), 0.01) for answer in answers]
    monkeypatch.setattr(module, "run_all", lambda _: results)


def at_localhost(monkeypatch, *answers: Answer, first: bool = True) -> None:
    """What each node's kube-proxy says, at the loopback address of the cluster's first IP family or of the other."""
    pairs = [(answer, Answer(REFUSED)) if first else (Answer(REFUSED), answer) for answer in answers]
    answering(monkeypatch, proxy_mode, *(answer for pair in pairs for answer in pair))


def test_a_full_table_of_connections() -> None:
    told = Told()
    files = {"n1": {"count": "10\n", "max": "1000\n"}, "n2": {"count": "900\n", "max": "1000\n"}}
    with pytest.raises(NotConforming) as caught:
        tracking.to_have_room_for_connections(nodes(told, files))
    assert [failure.vantage for failure in caught.value.failures] == ["node@n2"]
    assert told[0] == "node@n1: 10 of 1000 tracked connections, 1.0%"
    tracking.to_have_room_for_connections(nodes(told, files, conntrack_share=0.95))


def test_tracking_that_cannot_be_seen() -> None:
    with pytest.raises(Unsupported, match="cannot read the conntrack table"):
        tracking.to_have_room_for_connections(nodes(Told()))


def test_modes_that_are_the_same_and_not(monkeypatch) -> None:
    told = Told()
    at_localhost(monkeypatch, Answer(OK, detail="ipvs"), Answer(OK, detail="ipvs\n"))
    proxies.to_have_one_proxy_mode(nodes(told), {})
    at_localhost(monkeypatch, Answer(OK, detail="ipvs"), Answer(OK, detail="ipvs"), first=False)
    proxies.to_have_one_proxy_mode(nodes(told), {})
    assert told == ["ipvs on every node"] * 2
    at_localhost(monkeypatch, Answer(OK, detail="ipvs"), Answer(REFUSED))
    with pytest.raises(NotConforming, match="node@n1 ipvs, node@n2 unknown"):
        proxies.to_have_one_proxy_mode(nodes(told), {})


def test_a_replacement_has_no_mode_of_its_own(monkeypatch) -> None:
    told = Told()
    items = [
        {
            "metadata": {"name": f"{owner}-x", "ownerReferences": [{"kind": "DaemonSet", "name": owner}]},
            "spec": {"nodeName": node},
        }
        for owner, node in (("cilium", "n1"), ("cilium-envoy", "n1"), ("cilium", "n2"), ("other", "n2"))
    ]
    found = proxies_by_node(
        SimpleNamespace(find=lambda path: {"items": items} if path.endswith("pods") else None)
    )
    at_localhost(monkeypatch, Answer(REFUSED), Answer(REFUSED))
    proxies.to_have_one_proxy_mode(nodes(told), found)
    assert told == ["a replacement: Cilium (eBPF) on every node"]
    with pytest.raises(Unsupported):
        proxies.to_have_one_proxy_mode(nodes(told), {})


def test_health(monkeypatch) -> None:
    told = Told()
    answering(monkeypatch, proxies, Answer(OK, detail="200"), Answer(OK, detail="200"))
    proxies.to_have_healthy_proxies(nodes(told), CLUSTER)
    answering(monkeypatch, proxies, Answer(OK, detail="200"), Answer(OK, detail="503"))
    with pytest.raises(NotConforming, match="got status 503"):
        proxies.to_have_healthy_proxies(nodes(told), CLUSTER)
    answering(monkeypatch, proxies, Answer(REFUSED), Answer(REFUSED))
    with pytest.raises(Unsupported, match="no kube-proxy"):
        proxies.to_have_healthy_proxies(nodes(told), CLUSTER)


def test_signals_in_words() -> None:
    probes = tuple(Probe(Answer(OK), 0.010, int(n == 0)) for n in range(100))
    path = SimpleNamespace(result=SeriesResult(probes, 0.5))
    words = signals._words(path, 3, 4)
    assert words == (
        "latency p50 10.0, p99 10.0 ms, traffic 200/s, errors 3 of 100, 1 retransmission, "
        "saturation 50% of 4 concurrent requests"
    )


def test_signals_have_the_percentiles_of_the_report() -> None:
    probes = tuple(Probe(Answer(OK), seconds, 0) for seconds in (0.010, 0.020, 0.030, 0.500))
    words = signals._words(SimpleNamespace(result=SeriesResult(probes, 0.5)), 0, 1)
    assert words.startswith("latency p50 20.0, p99 500.0 ms, traffic")  # interpolated, p50 is 25.0


def test_signals_of_no_answer_have_no_latency() -> None:
    words = signals._words(SimpleNamespace(result=SeriesResult((), 0.5)), 0, 1)
    assert words.startswith("traffic 0/s, errors 0 of 0")
