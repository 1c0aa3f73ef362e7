"""Which paths need a younger Service, and what it proves."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
from backends import NONCE
from staged import ADDRESS, Staged, ok

from kubereach.expect.younger import await_younger, proves_nothing, remember
from kubereach.model.convergence import CHANGED, ConvergenceDeadline
from kubereach.model.errors import CannotMeasure
from kubereach.model.outcome import OK, REFUSED, Answer, Probe, SeriesResult
from kubereach.probe.path import Path
from kubereach.probe.vantage import StreamBroke

YOUNGER = replace(ADDRESS, host="10.96.7.7", port=8080, family=6)
PORT = 32000


@pytest.fixture
def path(context, clock):
    def make(*pods, script=lambda _: [ok()], settled=None, attempts=1, address=ADDRESS, **more):
        settled = ConvergenceDeadline.after(CHANGED, 30) if settled is None else settled
        made = Path(Staged(context, clock, script, **more), replace(address, settled=settled))
        made.result = SeriesResult(tuple(Probe(ok(pod), 0.01) for pod in pods), 0.1)
        made.attempts = attempts
        return made

    return make


# --- what proves nothing


def test_what_the_endpoints_answered_before_the_change_proves_nothing(path, clock):
    remember(path("a"))
    clock.now += 1
    changed = path()
    assert proves_nothing(changed, None)
    assert proves_nothing(changed, frozenset({"a"}))
    assert proves_nothing(changed, frozenset({"a", "b"}))
    # the old state gave another answer than the new one must
    assert not proves_nothing(changed, frozenset({"b"}))
    assert not proves_nothing(changed, frozenset())


def test_of_several_that_answered_each_must_be_one_that_may(path, clock):
    remember(path("a", "b"))
    clock.now += 1
    assert not proves_nothing(path(), frozenset({"a"}))
    assert proves_nothing(path(), frozenset({"a", "b"}))


def test_what_has_not_changed_needs_no_proof(path, clock):
    remember(path("a"))
    clock.now += 1
    assert not proves_nothing(path(settled=clock.now + 30), None)


def test_what_has_missed_in_between_proves_nothing_either(path, clock):
    remember(path("a"))
    clock.now += 1
    assert proves_nothing(path(attempts=2), None)
    # a change that has had its time is followed
    assert not proves_nothing(path(attempts=0), None)


def test_what_answered_after_the_change_needs_no_proof(path, clock):
    changed = path("a")
    clock.now += 1
    remember(changed)
    assert not proves_nothing(changed, None)


def test_at_the_moment_of_the_change_is_not_before(path):
    changed = path("a")
    remember(changed)
    assert not proves_nothing(changed, None)


@pytest.mark.parametrize(
    "other",
    [
        {"node": "two"},
        {"address": replace(ADDRESS, kind="udp")},
        {"address": replace(ADDRESS, host="10.96.0.2")},
        {"address": replace(ADDRESS, port=81)},
    ],
)
def test_what_others_answered_says_nothing(path, clock, other):
    remember(path("a"))
    clock.now += 1
    assert not proves_nothing(path(**other), None)


# --- the younger Service


@pytest.fixture
def made(context):
    """Whether a node port was asked for and of which IP version, when a Service was made, and whether it has gone."""
    found = []

    @contextmanager
    def younger(node_port, version):
        found.append((node_port, version))
        yield replace(YOUNGER, settled=ConvergenceDeadline.after(CHANGED, 30)), PORT
        found.append("gone")

    context.younger = younger
    return found


def test_it_is_asked_for_from_each_path(path, made, context):
    inside, node = path("a"), path("a", kind="node")
    await_younger([inside, node])
    assert made == [(False, 4), "gone"]
    for one in (inside, node):
        (series,) = one.vantage.asked
        assert (series.kind, series.host, series.port) == ("http", "10.96.7.7", 8080)
        assert (series.timeout, series.nonce) == (context.settings.connect_timeout, NONCE)
        assert (series.count, series.wanted, series.more) == (1, (OK,), {"family": 6})
        assert (one.failures, one.attempts) == ([], 1)
        # what was seen of the path itself stays
        assert one.result.backends == {"a": 1}
        assert one.address.host == "10.96.0.1"


def test_from_outside_it_is_asked_for_at_the_node_of_the_path(path, made):
    node_port = replace(ADDRESS, way="nodeport", host="172.18.0.3", port=30080)
    outside = path("a", kind="outside", address=node_port)
    balancer = path("a", kind="outside", address=replace(ADDRESS, way="loadbalancer"))
    await_younger([balancer, outside])
    assert made == [(True, 4), "gone"]
    ((series,), asked) = outside.vantage.asked, balancer.vantage.asked
    assert (series.host, series.port, asked) == ("172.18.0.3", PORT, [])
    assert (balancer.failures, outside.failures) == ([], [])


@pytest.mark.parametrize("kind", ["pod", "node", "outside"])
@pytest.mark.parametrize("protocol", ["http", "tcp", "udp"])
def test_a_node_port_is_served_by_its_node(path, made, kind, protocol):
    """Whoever asks, and whatever is asked there: the younger Service's own port takes HTTP."""
    address = replace(ADDRESS, way="nodeport", kind=protocol, host="172.18.0.3", port=30080)
    one = path("a", kind=kind, address=address)
    await_younger([one])
    assert made == [(True, 4), "gone"]
    (series,) = one.vantage.asked
    assert (series.kind, series.host, series.port) == ("http", "172.18.0.3", PORT)


def test_it_is_of_the_ip_version_of_each_path(path, made):
    """The rules of one version say nothing about those of the other."""
    first, second = path("a"), path("a", address=replace(ADDRESS, host="fd00:10:96::1", family=6))
    node_port = replace(ADDRESS, way="nodeport", host="fd00::3", port=30080, family=6)
    named = replace(ADDRESS, way="loadbalancer", host="lb.example.com", family=6)
    await_younger([second, first, path("a", address=node_port), path("a", address=named)])
    assert made == [(False, 4), "gone", (True, 6), "gone"]
    assert [len(one.vantage.asked) for one in (first, second)] == [1, 1]


def test_where_nobody_is_to_see_one_none_is_made(path, made):
    await_younger([])
    await_younger([path("a", kind="outside", address=replace(ADDRESS, way="loadbalancer"))])
    assert made == []


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("kind", ["pod", "outside"])
def test_a_path_that_does_not_see_it_could_not_be_measured(path, clock, kind):
    way = ADDRESS if kind == "pod" else replace(ADDRESS, way="nodeport")
    begun = clock.now
    blind = path("a", script=lambda _: [Answer(REFUSED)], kind=kind, address=way)
    blind.converged = 0.5
    good = path("a", kind=kind, node="two", address=way)
    with pytest.raises(CannotMeasure) as error:
        await_younger([good, blind])
    host = "10.96.7.7" if kind == "pod" else "10.96.0.1"
    assert error.value.message.startswith(
        f"{blind.vantage.name} does not reach a Service that was created after"
    )
    assert f"{host}:" in error.value.message and error.value.message.endswith(": refused")
    assert "the state before the change" in error.value.remedy
    assert good.failures == blind.failures == []
    # for as long as a change may take
    assert 29 < clock.now - begun < 32
    assert blind.converged == 0.5
    assert blind.result.backends == {"a": 1}


@pytest.mark.usefixtures("made")
def test_a_stream_that_breaks_says_nothing_of_it(path):
    """It is not the younger Service that does not answer: the check may be measured again."""
    broke = StreamBroke("the stream to pod@one broke")
    with pytest.raises(StreamBroke):
        await_younger([path("a", script=lambda _: SeriesResult.lost(broke))])


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("kind", ["pod", "outside"])
def test_it_has_the_time_of_its_own_change(path, clock, kind):
    way = replace(ADDRESS, way="nodeport")
    begun = clock.now
    blind = path(
        "a",
        script=lambda _: [Answer(REFUSED)],
        kind=kind,
        address=way,
        settled=ConvergenceDeadline.after(CHANGED, 2),
    )
    with pytest.raises(CannotMeasure):
        await_younger([blind])
    assert 29 < clock.now - begun < 32


@pytest.mark.parametrize("way", ["headless", "dns", "pod", "health-check"])
def test_what_no_service_proxy_serves_needs_none(path, clock, way):
    """Neither a name nor a pod's own address follows what service proxies do."""
    served = path("a", settled=ConvergenceDeadline.after(CHANGED, 10))
    served.attempts = 1
    remember(served)
    clock.now += 1
    served.address = replace(served.address, settled=ConvergenceDeadline.after(CHANGED, 10))
    assert proves_nothing(served, frozenset({"a"}))
    served.address = replace(served.address, way=way)
    assert not proves_nothing(served, frozenset({"a"}))


@pytest.mark.parametrize("kind", ["pod", "outside"])
def test_one_that_answers_at_once_has_been_served_nobody_knows_how_long(path, clock, context, kind):
    @contextmanager
    def younger(*_):
        settled = ConvergenceDeadline.after(CHANGED, 30)
        clock.now += 5
        yield replace(YOUNGER, settled=settled), PORT

    context.younger = younger
    await_younger([path("a", kind=kind, address=replace(ADDRESS, way="nodeport"))])
    assert (context.slowest, context.followed) == (pytest.approx(5.0), 0.0)


@pytest.mark.usefixtures("made")
def test_a_change_took_as_long_as_the_younger_service(path, clock):
    begun = clock.now
    slow = path("a", script=lambda _: [ok() if clock.now > begun + 2 else Answer(REFUSED)])
    quick = path("a", node="two")
    slow.converged, quick.converged = 0.1, 0.3
    await_younger([slow, quick])
    assert 2 < slow.converged < 3
    assert quick.converged == 0.3
    assert slow.failures == quick.failures == []
    outside = path(
        "a",
        script=lambda _: [ok() if clock.now > begun + 6 else Answer(REFUSED)],
        kind="outside",
        address=replace(ADDRESS, way="nodeport"),
    )
    await_younger([outside])
    assert outside.converged > 2
    assert outside.attempts == 1


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("way", ["clusterip", "nodeport"])
def test_a_younger_service_that_answers_at_once_was_not_seen_to_be_followed(path, clock, context, way):
    one = path("a", address=replace(ADDRESS, way=way))
    clock.now += 3
    await_younger([one])
    assert context.followed == 0.0
