"""What passed whatever the cluster did: silence, empty files and annotations that nobody could see at work."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kubereach.expect import cases_of, expect, routes
from kubereach.model.address import Address
from kubereach.model.errors import NotConforming, Unsupported
from kubereach.model.outcome import Answer, Probe, SeriesResult
from kubereach.world.ip_family import InFamily
from kubereach.world.service_addresses import ServiceAddresses
from kubereach.world.service_endpoints import Endpoints
from kubereach.world.service_object import ServiceObject
from kubereach.world.service_spec import ServiceSpec

CLUSTER_IP = Address("clusterip", "http", "10.96.0.7", 80)


def answering(monkeypatch, *answers):
    """Let every series be answered so."""
    result = SeriesResult(tuple(Probe(answer, 0.01) for answer in answers), 0.01)
    monkeypatch.setattr(routes, "run_all", lambda wanted: [result for _ in wanted])


def with_file(vantage, monkeypatch, text):
    monkeypatch.setattr(vantage, "read_file", lambda path: {"/etc/resolv.conf": text}[path])


# --- the outside


def test_a_machine_without_a_route_proves_nothing(vantage, monkeypatch):
    answering(monkeypatch, Answer("unreachable", detail="connect() gave ENETUNREACH: Network is unreachable"))
    with pytest.raises(Unsupported, match=r"pod@one has no route to 10\.96\.0\.7: no packet leaves its node"):
        expect(vantage).to_have_a_route(CLUSTER_IP)


@pytest.mark.parametrize(
    "answer",
    [Answer("timeout"), Answer("unreachable", detail="No route to host"), Answer("ok"), Answer("refused")],
)
def test_packets_that_leave_the_machine_have_a_route(vantage, monkeypatch, answer):
    answering(monkeypatch, answer)
    expect(vantage).to_have_a_route(CLUSTER_IP)


@pytest.mark.parametrize("outcome", ["timeout", "refused", "unreachable"])
def test_name_servers_that_say_nothing_know_no_name(vantage, monkeypatch, outcome):
    with_file(vantage, monkeypatch, "nameserver 192.0.2.53\n")
    answering(monkeypatch, Answer(outcome))
    with pytest.raises(Unsupported, match=r"no name server of pod@one answers: 192\.0\.2\.53"):
        expect(vantage).to_hear_a_name_server()


def test_a_machine_without_name_servers_knows_no_name(vantage, monkeypatch):
    with_file(vantage, monkeypatch, "# nothing\n")
    with pytest.raises(Unsupported, match="answers: it has none"):
        expect(vantage).to_hear_a_name_server()


@pytest.mark.parametrize("outcome", ["ok", "nxdomain", "servfail", "protocol"])
def test_any_reply_of_a_name_server_will_do(vantage, monkeypatch, outcome):
    with_file(vantage, monkeypatch, "nameserver 192.0.2.53\n")
    answering(monkeypatch, Answer(outcome))
    expect(vantage).to_hear_a_name_server()


# --- files


@pytest.mark.parametrize(
    ("text", "conforms"), [("nameserver 192.0.2.53\n", True), ("", False), ("# none\n", False)]
)
def test_an_empty_file_is_not_what_the_node_has(vantage, monkeypatch, text, conforms):
    with_file(vantage, monkeypatch, text)
    if conforms:
        expect(vantage).not_to_be_configured(search="a.svc.cluster.local")
        return
    with pytest.raises(NotConforming) as error:
        expect(vantage).not_to_be_configured(search="a.svc.cluster.local")
    assert error.value.failures[0].got == "nameservers none; search none; ndots 1"


# --- annotations


def overlay(tmp_path, *outcomes):
    folder = tmp_path / "overlays"
    folder.mkdir()
    lines = [f"- {{name: case-{n}, outcome: {outcome}, wanted: x}}" for n, outcome in enumerate(outcomes)]
    (folder / "ours.yaml").write_text("\n".join(lines))
    settings = SimpleNamespace(lb_provider="ours", lb_values="")
    return SimpleNamespace(
        context=SimpleNamespace(settings=settings), manifests=SimpleNamespace(folder=tmp_path)
    )


@pytest.fixture
def no_address(monkeypatch):
    class Free:
        def __init__(self, _world):
            pass

        def __enter__(self):
            return "192.0.2.9"

        def __exit__(self, *_):
            return None

    monkeypatch.setattr("kubereach.expect.overlays.free_address", Free)


@pytest.mark.usefixtures("no_address")
def test_annotations_that_nothing_shows_are_no_pass(tmp_path):
    world = overlay(tmp_path, "answers", "answers")
    words = "case-0, case-1 answer, as they would without the annotations"
    with pytest.raises(Unsupported, match=words), cases_of(world) as cases:
        assert len(cases) == 2, "they are tried all the same"


@pytest.mark.usefixtures("no_address")
def test_one_annotation_that_shows_is_enough(tmp_path):
    with cases_of(overlay(tmp_path, "answers", "internal")) as cases:
        assert len(cases) == 2


# --- what pods must have


def test_a_pod_without_an_address_of_the_second_family():
    endpoints = SimpleNamespace(ips_of={"a": ("10.0.0.1", "fd00::1"), "b": ("10.0.0.2",)})
    service = SimpleNamespace(name="two", endpoints=endpoints)
    assert InFamily(service, "IPv4").pod_ips == {"10.0.0.1", "10.0.0.2"}
    with pytest.raises(NotConforming) as error:
        _ = InFamily(service, "IPv6").pod_ips
    (failure,) = error.value.failures
    assert (failure.address, failure.got) == ("status.podIPs of b", "none")


# --- ports


def web():
    """The addresses of a Service over one pod, which listens on more ports than the Service has."""
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "own", "port": 8081, "protocol": "TCP"},
    ]
    created = {
        "metadata": {"namespace": "a", "name": "web"},
        "spec": {"clusterIP": "10.96.0.7", "ports": ports},
    }
    obj = ServiceObject(SimpleNamespace(get=lambda *_: None), created)
    listening = [
        {"containerPort": 8080},
        {"containerPort": 8081, "protocol": "TCP"},
        {"containerPort": 8082, "protocol": "UDP"},
    ]
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"ports": listening}]}}
    endpoints = Endpoints.of([pod], 4, frozenset())
    return ServiceAddresses(obj, ServiceSpec(obj, 4), None, SimpleNamespace(settled=0.0), lambda: endpoints)


def test_undeclared_ports_are_those_that_somebody_may_answer_at():
    found = [(address.kind, address.port) for address in web().undeclared()]
    assert found == [("http", 81), ("http", 8080), ("udp", 8082), ("http", 10250), ("http", 10256)]
