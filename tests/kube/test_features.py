"""Features are detected, each by what was seen of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kubereach.kube import detection
from kubereach.kube.detection import detect
from kubereach.model.check import (
    DUAL_STACK,
    EXTERNAL_NAME,
    FEATURES,
    HOST_NETWORK,
    LB_CONTROLLER,
    LOADBALANCER,
    MULTI_NODE,
    OTHER_NAMESPACE,
    OUTSIDE,
    OUTSIDE_DUAL,
    SCTP,
)
from kubereach.model.features import FeatureState
from kubereach.model.settings import Settings


def node(name, *addresses):
    return SimpleNamespace(name=name, address=addresses[0] if addresses else "", addresses=addresses)


ONE, TWO = node("one", "10.0.0.1", "fd00::1"), node("two", "10.0.0.2", "fd00::2")
SINGLE = node("single", "10.0.0.3")


@pytest.fixture
def asked(monkeypatch):
    """What was tried; every address reacts, but those of `silent`."""
    made = SimpleNamespace(silent=set(), calls=[])

    def reacting(addresses, ports, timeout):
        made.calls.append((list(addresses), ports, timeout))
        return {address: "answers on 22" for address in addresses if address not in made.silent}

    monkeypatch.setattr(detection, "reacting", reacting)
    return made


def found(*nodes, settings=None, findings=None, ports=None, **more):
    cluster = SimpleNamespace(nodes=nodes, findings=findings or {}, node_port_range=ports)
    return detect(cluster, settings or Settings(), **more)


@pytest.mark.usefixtures("asked")
def test_what_only_its_use_shows_is_there_until_then() -> None:
    every = found(ONE, TWO)
    for name in (LOADBALANCER, LB_CONTROLLER, HOST_NETWORK, SCTP):
        assert every[name].present
        assert not every[name].decided
    assert FeatureState(True, "seen").decided


@pytest.mark.usefixtures("asked")
def test_several_nodes() -> None:
    assert found(ONE, TWO)[MULTI_NODE] == FeatureState(True, "2 nodes: one, two")
    assert found(ONE)[MULTI_NODE] == FeatureState(False, "1 node: one")


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("given", "present", "evidence"),
    [
        ((), True, "the run creates its namespaces"),
        (("a",), False, "namespaces given by --namespace: a"),
        (("a", "b"), True, "namespaces given by --namespace: a, b"),
    ],
)
def test_a_second_namespace(given, present, evidence) -> None:
    settings = Settings().overridden([f"namespaces={','.join(given)}"]) if given else Settings()
    assert settings.namespaces == given
    assert found(ONE, settings=settings)[OTHER_NAMESPACE] == FeatureState(present, evidence)


def test_the_outside_is_where_every_node_reacts(asked) -> None:
    every = found(ONE, TWO)
    assert every[OUTSIDE] == FeatureState(
        True, "every node replies: 10.0.0.1 answers on 22, 10.0.0.2 answers on 22"
    )
    assert every[OUTSIDE_DUAL].present
    first, second = asked.calls
    assert first == (["10.0.0.1", "10.0.0.2"], (10250, 22, 30000, 31383, 32767), Settings().outside_timeout)
    assert second[0] == ["10.0.0.1", "fd00::1", "10.0.0.2", "fd00::2"]
    asked.silent = {"10.0.0.2"}
    every = found(ONE, TWO)
    assert not every[OUTSIDE].present
    assert every[OUTSIDE].evidence.startswith("no reply from 10.0.0.2 on any of the ports 10250, 22,")
    assert not every[OUTSIDE_DUAL].present


def test_one_family_that_does_not_react(asked) -> None:
    asked.silent = {"fd00::2"}
    every = found(ONE, TWO)
    assert every[OUTSIDE].present
    assert every[OUTSIDE_DUAL].evidence.startswith("no reply from fd00::2 on")


def test_ports_of_the_clusters_own_node_port_range_are_tried(asked):
    found(ONE, ports=(20000, 20100))
    assert [call[1] for call in asked.calls] == [(10250, 22, 20000, 20050, 20100)] * 2


@pytest.mark.usefixtures("asked")
def test_nodes_of_one_family() -> None:
    every = found(ONE, SINGLE)
    assert every[OUTSIDE].present
    assert every[OUTSIDE_DUAL] == FeatureState(False, "nodes without addresses of both IP families: single")


def test_a_cluster_without_nodes_has_no_outside(asked) -> None:
    every = found()
    assert every[OUTSIDE] == FeatureState(False, "no node has an address")
    assert every[OUTSIDE_DUAL] == FeatureState(False, "nodes without addresses of both IP families: all")
    assert not asked.calls


def test_an_outside_elsewhere_is_not_tried_from_here(asked) -> None:
    every = found(ONE, TWO, elsewhere="the lab has it")
    for name in (OUTSIDE, OUTSIDE_DUAL):
        assert every[name] == FeatureState(
            True, "the outside vantage is on the nodes' network (the lab has it)"
        )
    assert not asked.calls


def test_within_the_cluster_there_is_no_outside_unless_it_is_named(asked) -> None:
    every = found(ONE, TWO, inside="this is a pod")
    for name in (OUTSIDE, OUTSIDE_DUAL):
        assert every[name] == FeatureState(False, "this is a pod")
    assert not asked.calls
    settings = Settings().overridden(["outside_via=ssh there"])
    every = found(ONE, TWO, inside="this is a pod", settings=settings)
    for name in (OUTSIDE, OUTSIDE_DUAL):
        assert every[name].present
        assert every[name].evidence.endswith("(given by --outside-via)")
    # who is not within a cluster tries it from there
    assert found(ONE, settings=settings)[OUTSIDE].evidence.startswith("every node replies")


@pytest.mark.usefixtures("asked")
def test_what_the_cluster_itself_says_counts() -> None:
    every = found(
        ONE, findings={DUAL_STACK: FeatureState(False, "IPv4"), OUTSIDE: FeatureState(False, "no way")}
    )
    assert every[DUAL_STACK] == FeatureState(False, "IPv4")
    assert every[OUTSIDE] == FeatureState(False, "no way")
    assert list(every) == [name for name in FEATURES if name in every]
    assert DUAL_STACK not in found(ONE)


@pytest.mark.usefixtures("asked")
def test_a_name_of_elsewhere() -> None:
    assert found(ONE)[EXTERNAL_NAME] == FeatureState(False, "--external-name is not given")
    settings = Settings().overridden(["external_name=example.org"])
    assert found(ONE, settings=settings)[EXTERNAL_NAME] == FeatureState(True, "--external-name example.org")


@pytest.mark.usefixtures("asked")
def test_load_balancer_addresses_of_our_own_lead_nowhere_from_outside() -> None:
    settings = Settings().overridden(["self_load_balancer=true"])
    every = found(ONE, settings=settings, findings={LOADBALANCER: FeatureState(False, "no")})
    assert (every[LOADBALANCER].present, every[LOADBALANCER].decided) == (True, True)
    assert (every[LB_CONTROLLER].present, every[LB_CONTROLLER].decided) == (False, True)
    assert every[LB_CONTROLLER].evidence.startswith(
        "kubereach assigns the load-balancer addresses, from 198.51.100.0/24"
    )
