"""Clients that must stay with one endpoint, or be let go, and health checks; what an overloaded machine excuses."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from staged import ADDRESS, Staged, noting, ok, played

from kubereach.expect import affinity, health
from kubereach.expect.affinity import to_leave_endpoint, to_spread_clients, to_stick, tries
from kubereach.expect.hold import longer
from kubereach.expect.reach import CONVERGED
from kubereach.expect.settle import checking
from kubereach.kube.service_proxy import ServiceProxy
from kubereach.model.errors import CannotMeasure, NotConforming, Unsupported
from kubereach.model.events import Note, Probed
from kubereach.model.lateness import Lateness
from kubereach.model.misses import LOST, SPREAD, STATUS
from kubereach.model.outcome import LOCAL, OK, REFUSED, TIMEOUT, Answer, Probe, SeriesResult
from kubereach.model.tally import Tally

SILENT, REFUSAL = Answer(TIMEOUT), Answer(REFUSED)


@pytest.fixture
def late(context, clock):
    """A vantage whose timers were a second late, and which says so of each miss, with the answers of each series."""
    context.lateness = Lateness()

    return lambda *turns: Staged(context, clock, noting(context, *turns))


def stick(vantage, kept=None):
    return to_stick([vantage], [ADDRESS], count=5, kept=kept)


def misses(call):
    with pytest.raises(NotConforming) as error:
        call()
    return [failure.miss for failure in error.value.failures]


BEFORE = {("pod@one", str(ADDRESS)): "a"}


@pytest.mark.parametrize("kept", [None, BEFORE])
def test_what_a_late_machine_lost_of_a_client_is_measured_again(late, kept):
    vantage = late([ok("a"), SILENT, ok("a")], [ok("a")])
    assert stick(vantage, kept) == BEFORE
    assert len(vantage.asked) == 3


@pytest.mark.parametrize(
    ("answers", "kept"),
    [([ok("a"), SILENT, ok("b"), ok("a")], None), ([ok("b"), SILENT, ok("b")], BEFORE)],
)
def test_another_endpoint_is_no_late_machines_doing(late, answers, kept):
    vantage = late(answers, [ok("a")])
    assert misses(lambda: stick(vantage, kept)) == [SPREAD]
    assert len(vantage.asked) == 1


def test_a_client_that_lost_answers_has_lost_them(late, context):
    context.lateness = Lateness()
    vantage = late([ok("a"), SILENT, ok("a")])
    vantage.script = lambda series: played(series, [ok("a"), SILENT, ok("a")])
    assert misses(lambda: stick(vantage)) == [LOST]


GOOD, BAD = Answer(OK, detail="200"), Answer(OK, detail="503")


def test_what_a_late_machine_lost_of_a_health_check_is_measured_again(late):
    vantage = late([GOOD], [GOOD, SILENT, GOOD], [GOOD])
    health.statuses([vantage], [ADDRESS], [ADDRESS.host])


def test_a_wrong_status_is_no_late_machines_doing(late):
    vantage = late([GOOD], [GOOD, SILENT, BAD], [GOOD])
    assert misses(lambda: health.statuses([vantage], [ADDRESS], [ADDRESS.host])) == [STATUS]
    assert len(vantage.asked) == 2


# --- one endpoint


@pytest.fixture
def vantage(context, clock):
    """A vantage that meets these answers, one series after the other; the last for ever."""

    def make(*turns, **more):
        left = iter(turns)
        last = [None]

        def script(series):
            last[0] = next(left, last[0])
            return last[0](series) if callable(last[0]) else last[0]

        return Staged(context, clock, script, **more)

    return make


def failures(call):
    with pytest.raises(NotConforming) as error:
        call()
    return error.value.failures


def probed(events):
    return [event for event in events if isinstance(event, Probed)]


def told(events):
    return [event.text for event in events if isinstance(event, Note)]


def test_each_client_has_its_endpoint(vantage):
    one, two = vantage([ok("a")]), vantage([ok("b")], node="two")
    assert to_stick([one, two], [ADDRESS], count=5) == {
        ("pod@one", str(ADDRESS)): "a",
        ("pod@two", str(ADDRESS)): "b",
    }
    (series,) = one.asked
    assert (series.count, series.in_flight, series.spacing, series.times) == (5, 4, 0.0, False)
    slow = vantage([ok("a")])
    to_stick([slow], [ADDRESS], count=5, pause=0.5)
    assert (slow.asked[0].in_flight, slow.asked[0].spacing, slow.asked[0].times) == (1, 0.5, True)


@pytest.mark.parametrize(
    ("answers", "kept", "miss", "expected", "got"),
    [
        ([ok("a"), ok("b"), ok("a")], None, SPREAD, "one endpoint for all of 5 connections", "a 4, b 1"),
        ([ok("b")], BEFORE, SPREAD, "a, as before, for all of 5 connections", "b 5"),
        ([ok("a"), REFUSAL, ok("a")], BEFORE, LOST, "a, as before, for all of 5 connections", "a 4"),
        ([REFUSAL], None, LOST, "one endpoint for all of 3 connections", "3 refused"),
        ([ok("a"), REFUSAL, ok("b")], None, SPREAD, "one endpoint for all of 5 connections", "b 3, a 1"),
    ],
)
def test_another_endpoint_or_a_loss_fails(vantage, answers, kept, miss, expected, got):
    (failure,) = failures(lambda: stick(vantage(answers), kept))
    assert (failure.miss, failure.expected, failure.got) == (miss, expected, got)


def test_a_client_of_which_nothing_was_kept_may_be_anywhere(vantage):
    assert stick(vantage([ok("b")]), {}) == {("pod@one", str(ADDRESS)): "b"}


def test_how_far_apart_is_told(vantage):
    for kept, words in ((None, "one endpoint for all of"), (BEFORE, "a, as before, for all of")):
        one = vantage([ok("b"), ok("a")])
        (failure,) = failures(
            lambda it=one, before=kept: to_stick([it], [ADDRESS], count=5, pause=0.5, kept=before)
        )
        assert failure.expected == f"{words} 5 connections, 0.5 s apart"


def spaced(*moments, answer=None):
    pods = ["a", "b"]
    probes = [Probe(answer or ok(pods[n % 2]), 0.01, at=at) for n, at in enumerate(moments)]
    return lambda _: SeriesResult(tuple(probes), 0.1)


def test_a_client_that_was_silent_for_too_long_was_not_measured(vantage):
    def call(*moments, pause=1.0, **more):
        to_stick([vantage(spaced(*moments, **more))], [ADDRESS], count=3, pause=pause)

    with pytest.raises(CannotMeasure, match=r"should have connected every 1 s but paused for 2.1 s"):
        call(0.0, 3.1, 1.0)
    failures(lambda: call(0.0, 1.0, 3.0))
    failures(lambda: call(0.0, 9.0, 1.0, pause=0.0))
    # what was lost was lost
    failures(lambda: call(0.0, 9.0, 1.0, answer=SILENT))
    failures(lambda: call(0.0, answer=SILENT))
    with pytest.raises(CannotMeasure, match=r"paused for 1.1 s"):
        call(0.0, 0.5, 1.6, pause=0.5)
    one = vantage([ok("b")])
    assert failures(lambda: to_stick([one], [ADDRESS], count=1, pause=0.4, kept=BEFORE))


def test_too_few_connections_are_none(vantage):
    with pytest.raises(CannotMeasure, match="sent 3 of at least 5"):
        stick(vantage(lambda _: SeriesResult((Probe(ok(), 0.1),) * 3, 0.1)))
    with pytest.raises(CannotMeasure, match="sent no probe"):
        stick(vantage(lambda _: SeriesResult((), 0.1)))


def test_a_client_whose_path_may_still_change_converges_and_is_held_again(vantage, clock, events, context):
    address = replace(ADDRESS, settled=clock.now + 30)
    one = vantage([REFUSAL], [ok("a")], [ok("b"), ok("a")], [ok("a")])
    to_stick([one], [address], count=40)
    again = longer(context.settings, 40, 1)
    assert [series.count for series in one.asked] == [CONVERGED, CONVERGED, 40, CONVERGED, again]
    assert [series.timeout for series in one.asked[:2]] == [0.25, 0.5]
    (note,) = told(events)
    assert "a 39, b 1 before it settled" in note
    settled = vantage([ok("a")])
    to_stick([settled], [replace(ADDRESS, settled=clock.now)], count=5)
    assert [series.count for series in settled.asked] == [5]


def test_a_client_whose_path_does_not_converge_fails(vantage, clock, events):
    one = vantage([REFUSAL], [REFUSAL], [ok("a")])
    failures(lambda: to_stick([one], [replace(ADDRESS, settled=clock.now + 0.015)], count=5))
    assert len(one.asked) == 2
    flaps = vantage([ok("a")], [ok("b"), ok("a")], [REFUSAL])
    failures(lambda: to_stick([flaps], [replace(ADDRESS, settled=clock.now + 1)], count=5))
    assert told(events) == []


# --- let go


MANY = [replace(ADDRESS, host=f"10.96.1.{n}") for n in range(40)]


def kept_at(pod, *vantages):
    return {(vantage.name, str(address)): pod for vantage in vantages for address in MANY}


def test_clients_that_were_let_go(vantage, events, context):
    one = vantage(lambda series: [ok("b" if series.host == MANY[7].host else "a")])
    to_leave_endpoint([one], MANY, after=3.0, kept=kept_at("a", one), endpoints=4)
    assert {(series.count, series.delay) for series in one.asked} == {(1, 3.0)}
    assert all(event.conforming for event in probed(events))
    assert len(probed(events)) == 40
    context.proxy_on = lambda _: ServiceProxy("kube-proxy (ipvs)", ipvs=True)
    to_leave_endpoint([one], MANY, after=3.0, kept=kept_at("a", one), endpoints=4)


def test_clients_that_all_stay_were_not_let_go(vantage, context, events):
    one = vantage([ok("a")])
    (failure,) = failures(
        lambda: to_leave_endpoint([one], MANY, after=3.0, kept=kept_at("a", one), endpoints=4)
    )
    assert (failure.miss, failure.address) == (SPREAD, str(MANY[0]))
    assert failure.expected == "at least one of 40 clients on another endpoint after 3 s idle"
    context.proxy_on = lambda _: ServiceProxy("kube-proxy (ipvs)", ipvs=True)
    with pytest.raises(Unsupported, match=r"kube-proxy .ipvs.: IPVS keeps session affinity"):
        to_leave_endpoint([one], MANY, after=3.0, kept=kept_at("a", one), endpoints=4)
    assert len(probed(events)) == 80
    context.proxy_on = lambda node: ServiceProxy("kube-proxy", ipvs=node == "one")
    two = vantage([ok("a")], node="two")
    assert failures(
        lambda: to_leave_endpoint([one, two], MANY, after=3.0, kept=kept_at("a", one, two), endpoints=4)
    )
    context.proxy_on = lambda _: None
    assert failures(lambda: to_leave_endpoint([one], MANY, after=3.0, kept=kept_at("a", one), endpoints=4))


def test_clients_that_are_not_answered_were_not_let_go(vantage, context):
    context.proxy_on = lambda _: ServiceProxy("kube-proxy (ipvs)", ipvs=True)
    lost = vantage(lambda series: [REFUSAL if series.host == MANY[0].host else ok("a")])
    (failure,) = failures(
        lambda: to_leave_endpoint([lost], MANY, after=3.0, kept=kept_at("a", lost), endpoints=4)
    )
    assert (failure.expected, failure.got, failure.miss) == ("an answer", "refused", LOST)
    with pytest.raises(CannotMeasure, match="sent no probe"):
        to_leave_endpoint(
            [vantage(lambda _: SeriesResult((), 0.1))], MANY, after=3.0, kept=kept_at("a", lost), endpoints=4
        )


def test_too_few_clients_prove_nothing(vantage):
    one = vantage([ok("b")])
    with pytest.raises(CannotMeasure, match=r"too few attempts .*: 14 clients at 4 endpoints"):
        to_leave_endpoint([one], MANY[:14], after=3.0, kept=kept_at("a", one), endpoints=4)
    assert one.asked == []
    to_leave_endpoint([one], MANY[:15], after=3.0, kept=kept_at("a", one), endpoints=4)
    affinity._enough(1e-9, "just enough")
    assert tries(4, 1) == 15
    assert tries(4, 3) == 5
    assert tries(4, 1, nodes=100) == 19
    assert 4.0**-15 < 1e-9 < 4.0**-14


# --- told apart


def test_clients_of_one_node_are_told_apart(vantage):
    one, two, far = vantage(), vantage(kind="node"), vantage(node="two")
    stuck = kept_at("a", one, two, far)
    (failure,) = failures(lambda: to_spread_clients([one, two, far], stuck, endpoints=4))
    assert (failure.vantage, failure.address) == ("pod@one, node@one", min(map(str, MANY)))
    assert failure.expected == "2 clients on one node on different endpoints"
    assert failure.got == "the same endpoint for all of them at each of 40 Services"
    stuck["node@one", str(MANY[3])] = "b"
    tally = Tally()
    with checking("demo.one", False, tally):
        to_spread_clients([one, two, far], stuck, endpoints=4)
    assert (tally.judged, tally.minimum) == (1, 1)


def test_one_node_of_two_is_enough_to_fail(vantage):
    group = [vantage(node=node, kind=kind) for node in ("one", "two") for kind in ("pod", "node")]
    stuck = kept_at("a", *group)
    stuck["node@one", str(MANY[3])] = "b"
    (failure,) = failures(lambda: to_spread_clients(group, stuck, endpoints=4))
    assert failure.vantage == "pod@two, node@two"


def test_where_luck_may_have_them_alike_nothing_is_proved(vantage):
    one, two, three, far = vantage(), vantage(kind="node"), vantage(kind="other"), vantage(node="two")
    with pytest.raises(CannotMeasure, match="too few attempts"):
        to_spread_clients([one, far], kept_at("a", one, far), endpoints=4)

    def few(count, *clients, endpoints=4):
        stuck = {(c.name, str(a)): f"{n}" for n, c in enumerate(clients) for a in MANY[:count]}
        to_spread_clients(list(clients), stuck, endpoints=endpoints)

    few(15, one, two)
    with pytest.raises(CannotMeasure, match="14 Services"):
        few(14, one, two)
    few(8, one, two, three)
    with pytest.raises(CannotMeasure):
        few(7, one, two, three)
    # each node more is a chance more
    with pytest.raises(CannotMeasure):
        few(15, *[vantage(node=f"n{n}", kind=kind) for n in range(2) for kind in ("pod", "node")])


def test_fifty_connections_show_whether_a_client_stays(vantage):
    one = vantage([ok()])
    to_stick([one], ADDRESS)
    assert one.asked[-1].count == 50


# --- health checks


def test_a_wrong_status_is_wrong_though_another_request_could_not_be_made(vantage):
    one = vantage([Answer(OK, detail="503"), Answer(LOCAL, detail="no local port")])
    assert misses(lambda: health.statuses([one], [ADDRESS], [ADDRESS.host])) == [STATUS]


def test_nodes_with_endpoints_are_to_be_called_healthy_and_others_not(vantage):
    hosts = {"one": ADDRESS.host, "two": "10.96.0.2"}

    def checked(*by_node):
        addresses = SimpleNamespace(health_check_on=lambda node: replace(ADDRESS, host=hosts[node.name]))
        return SimpleNamespace(addresses=addresses, endpoints=SimpleNamespace(by_node=by_node))

    def script(series):
        return [Answer(OK, detail="200" if series.host == ADDRESS.host else "503")]

    nodes = [SimpleNamespace(name=name) for name in hosts]
    health.to_get_health_checks([vantage(script)], checked("one"), nodes=nodes)
    for by_node in ((), ("two",), ("one", "two")):
        assert misses(
            lambda by_node=by_node: health.to_get_health_checks(
                [vantage(script)], checked(*by_node), nodes=nodes
            )
        )


def check_health(vantage, good=(ADDRESS.host,), address=ADDRESS):
    health.statuses([vantage], [address], good)


def test_what_a_health_check_is_asked(vantage, context, events):
    one = vantage([GOOD])
    check_health(one)
    first, second = one.asked
    assert (first.kind, first.host, first.port, first.count, second.count) == ("http", ADDRESS.host, 80, 5, 5)
    assert (first.nonce, first.more) == ("", {"path": "/healthz", "status": True})
    assert (second.nonce, second.more, second.timeout) == ("", first.more, context.settings.connect_timeout)
    assert probed(events)[0].conforming
    check_health(vantage([BAD]), good=())


@pytest.mark.parametrize(
    ("answers", "good", "expected", "got", "miss"),
    [
        ([BAD], True, "status 200", "status 503", STATUS),
        ([GOOD], False, "status 503", "status 200", STATUS),
        ([GOOD, BAD], True, "status 200", "status 200, 503", STATUS),
        ([GOOD, REFUSAL, GOOD], True, "status 200", "4 answered, 1 refused", LOST),
        ([GOOD, REFUSAL, BAD], True, "status 200", "status 200, 503", STATUS),
        ([REFUSAL], True, "status 200", "3 refused", LOST),
    ],
)
def test_another_status_or_a_loss_fails(vantage, answers, good, expected, got, miss):
    (failure,) = failures(lambda: check_health(vantage(answers), good=[ADDRESS.host] if good else []))
    assert (failure.expected, failure.got, failure.miss) == (expected, got, miss)


def test_a_health_check_that_has_yet_to_follow_is_waited_for(vantage, clock, events, context):
    address = replace(ADDRESS, settled=clock.now + 30)
    one = vantage([BAD], [GOOD], [GOOD, BAD], [GOOD])
    check_health(one, address=address)
    again = longer(context.settings, 5, 1)
    assert [series.count for series in one.asked] == [5, 5, 5, 5, again]
    assert [series.timeout for series in one.asked[:2]] == [0.25, 0.5]
    assert "4 answered" in told(events)[0] or "5 answered before it settled" in told(events)[0]
    flaps = vantage([GOOD], [BAD], [BAD])
    failures(lambda: check_health(flaps, address=replace(ADDRESS, settled=clock.now + 1)))
    assert len(told(events)) == 1


def test_a_health_check_that_does_not_follow_is_given_no_other_series(vantage, clock):
    one = vantage([BAD], [BAD], [GOOD])
    failures(lambda: check_health(one, address=replace(ADDRESS, settled=clock.now + 0.015)))
    assert len(one.asked) == 2


def test_too_few_requests_are_none(vantage):
    with pytest.raises(CannotMeasure, match="sent 3 of at least 5"):
        check_health(vantage(lambda _: SeriesResult((Probe(GOOD, 0.1),) * 3, 0.1)))
    with pytest.raises(CannotMeasure, match="sent no probe"):
        check_health(vantage(lambda _: SeriesResult((), 0.1)))
