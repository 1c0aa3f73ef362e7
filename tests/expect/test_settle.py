"""What is told and raised of the paths of an expectation, and which layer is said to be broken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from staged import ADDRESS, CONTROL, Staged, ok

from kubereach.expect.settle import (
    _ALIKE,
    _EXAMINED,
    checking,
    current_check,
    informing,
    measurable,
    names,
    paths,
    patience,
    settle,
    watched,
)
from kubereach.model.check import SCTP
from kubereach.model.errors import CannotMeasure, NotConforming, Unsupported
from kubereach.model.events import Probed
from kubereach.model.finding import Finding
from kubereach.model.lateness import Lateness
from kubereach.model.misses import BACKENDS, LOST, SPREAD
from kubereach.model.outcome import LOCAL, OK, TIMEOUT, Answer, Probe, SeriesResult
from kubereach.model.tally import Tally, current_tally
from kubereach.probe import Series
from kubereach.probe.path import Flap, Path


@pytest.fixture
def vantage(context, clock):
    return lambda node="one", kind="pod": Staged(context, clock, lambda _: (), kind, node)


def result(*answers, late=0.0):
    return SeriesResult(tuple(Probe(answer, 0.01, late=late) for answer in answers), 0.1, late=late)


@pytest.fixture
def path(vantage):
    def make(*answers, node="one", least=1, missed="", address=ADDRESS, miss=LOST, late=0.0, kind="pod"):
        made = Path(vantage(node, kind), address)
        made.result, made.least = result(*answers, late=late), least
        if missed:
            made.fail("an answer", missed, miss=miss)
        return made

    return make


def probed(events):
    return [event for event in events if isinstance(event, Probed)]


# --- paths


def test_every_vantage_with_every_address(vantage):
    one, two = vantage("one"), vantage("two")
    seen = paths([one, two], [ADDRESS, CONTROL])
    assert [(path.vantage, path.address) for path in seen] == [
        (one, ADDRESS),
        (one, CONTROL),
        (two, ADDRESS),
        (two, CONTROL),
    ]
    first = seen[0]
    assert (first.result.probes, first.result.seconds) == ((), 0.0)
    assert (first.converged, first.change, first.attempts, first.least) == (-1.0, "", 0, 1)
    assert (first.failures, first.miss, first.note, first.flap) == ([], "", "", None)
    assert seen[0].failures is not seen[1].failures


@pytest.mark.parametrize(("vantages", "addresses"), [(0, 1), (1, 0), (0, 0)])
def test_an_expectation_of_nothing_is_none(vantage, vantages, addresses):
    with pytest.raises(CannotMeasure, match="measures nothing"):
        paths([vantage()] * vantages, [ADDRESS] * addresses)


def test_a_check_that_was_given_up_has_no_paths(vantage):
    with (
        checking("demo.one", False, Tally(abandoned="too late")),
        pytest.raises(CannotMeasure, match="too late"),
    ):
        paths([vantage()], [ADDRESS])


def test_a_failure_names_its_path_and_what_was_missed(path):
    one = path()
    one.fail("an answer", "none", "line 1", "line 2", miss=BACKENDS)
    one.fail("more", "less")
    first, second = one.failures
    assert (first.vantage, first.address, first.expected, first.got) == (
        "pod@one",
        str(ADDRESS),
        "an answer",
        "none",
    )
    assert (first.evidence, first.miss) == (("line 1", "line 2"), BACKENDS)
    assert (second.miss, one.miss) == (LOST, BACKENDS)


def test_less_patience_where_something_is_broken(path, context):
    one = path()
    assert patience(one, 2.0) == 2.0
    context.troubled["pod@two"] = 0.0
    assert patience(one, 2.0) == 2.0
    context.troubled["pod@one"] = 0.0
    assert patience(one, 2.0) == 1.0


def test_a_flap_says_how_long():
    assert str(Flap("3 time-out", 10.0, 11.5)) == "3 time-out before it settled (for 1.50 s), then none lost"


def test_what_a_check_expects_is_its_own():
    tally = Tally()
    with checking("demo.one", True, tally):
        assert (current_check.get(), informing.get(), current_tally.get()) == ("demo.one", True, tally)
    assert (current_check.get(), informing.get(), current_tally.get()) == ("", False, None)


def test_names_in_words():
    assert names([]) == "none"
    assert names(["b", "a"]) == "a, b"
    assert names(list("gfedcba")[1:]) == "a, b, c, d, e, f"
    assert names(list("hgfedcba")) == "a, b, c, d, e, f and 2 more"
    assert names(list("abc"), most=2) == "a, b and 1 more"


# --- what can be measured


def test_no_probe_is_no_measurement(path):
    with pytest.raises(CannotMeasure, match="sent no probe to"):
        measurable(path())
    measurable(path(ok(), Answer(TIMEOUT)))


def test_a_probe_that_could_not_be_made_is_no_measurement(path):
    lacking = Answer(LOCAL, detail="no local port")
    with pytest.raises(CannotMeasure, match=r"could not probe .*: no local port"):
        measurable(path(ok(), lacking))


@pytest.mark.parametrize(
    ("kind", "detail", "error"),
    [
        ("sctp", "socket(): Protocol not supported", Unsupported),
        ("sctp", "Socket type not supported", Unsupported),
        ("sctp", "no local port", CannotMeasure),
        ("http", "Protocol not supported", CannotMeasure),
    ],
)
def test_a_kernel_without_sctp_lacks_a_feature(path, kind, detail, error):
    one = path(Answer(LOCAL, detail=detail), address=replace(ADDRESS, kind=kind))
    with pytest.raises((Unsupported, CannotMeasure)) as raised:
        measurable(one)
    assert type(raised.value) is error
    assert getattr(raised.value, "feature", SCTP) == SCTP


# --- settling


def test_each_path_is_told_and_counted(path, events, context):
    one, two = path(ok(), ok(), ok(), least=2), path(ok("b"), node="two", kind="node")
    one.converged, one.change = 0.25, "service changed"
    tally = Tally()
    with checking("demo.one", False, tally):
        settle([one, two])
    assert (tally.judged, tally.minimum) == (4, 3)
    first, second = probed(events)
    assert (first.check, first.vantage, first.vantage_kind, first.node) == (
        "demo.one",
        "pod@one",
        "pod",
        "one",
    )
    assert (first.way, first.address, first.conforming) == ("clusterip", str(ADDRESS), True)
    assert (first.outcomes, first.latencies) == ({OK: 3}, (0.01,) * 3)
    assert (first.converged, first.change) == (0.25, "service changed")
    assert (second.vantage, second.vantage_kind, second.conforming) == ("node@two", "node", True)
    assert not context.troubled


def test_all_failures_are_raised_together(path, events, context, clock):
    good, bad = path(ok()), path(Answer(TIMEOUT), node="two", missed="a time-out")
    worse = path(Answer(TIMEOUT), node="three", missed="another")
    worse.fail("no packet lost", "one")
    with pytest.raises(NotConforming) as error:
        settle([good, bad, worse])
    assert [f.got for f in error.value.failures] == ["a time-out", "another", "one"]
    assert [event.conforming for event in probed(events)] == [True, False, False]
    assert context.troubled == {"pod@two": clock.now, "pod@three": clock.now}


def test_since_when_it_is_broken_stays(path, context):
    context.troubled["pod@one"] = 5.0
    with pytest.raises(NotConforming):
        settle([path(Answer(TIMEOUT), missed="a time-out")])
    assert context.troubled == {"pod@one": 5.0}


def test_what_only_informs_breaks_nothing(path, context):
    with checking("demo.one", True, Tally()), pytest.raises(NotConforming):
        settle([path(Answer(TIMEOUT), missed="a time-out")])
    assert not context.troubled


def test_who_watches_sees_what_settles(path, events):
    token = watched.set([])
    try:
        settle([path(ok())])
        assert watched.get() == probed(events)
    finally:
        watched.reset(token)
    settle([path(ok())])


def test_too_few_probes_are_no_pass(path, events):
    with pytest.raises(CannotMeasure, match="pod@two sent 2 of at least 3 probes"):
        settle([path(ok(), ok(), ok(), least=3), path(ok(), ok(), node="two", least=3)])
    assert [event.conforming for event in probed(events)] == [True, False]


def test_a_miss_needs_only_itself(path):
    with pytest.raises(NotConforming):
        settle([path(Answer(TIMEOUT), least=3, missed="a time-out")])


def test_a_failure_weighs_more_than_what_could_not_be_measured(path):
    bad, few = path(Answer(TIMEOUT), missed="a time-out"), path(ok(), node="two", least=3)
    for seen in ([bad, few], [few, bad]):
        with pytest.raises(NotConforming):
            settle(seen)


def test_an_overloaded_machine_explains_its_own_misses_alone(path, events, context):
    context.lateness = Lateness()
    late = path(ok(), Answer(TIMEOUT), missed="a time-out", late=9.0)
    good, bad = path(ok(), node="two"), path(Answer(TIMEOUT), node="two", missed="a time-out")
    context.lateness.note("pod@one", late.result)
    with pytest.raises(CannotMeasure, match=r"timers of pod@one fired up to 9.00 s late"):
        settle([late, good])
    assert [event.vantage for event in probed(events)] == ["pod@two"]
    assert not context.troubled
    with pytest.raises(NotConforming) as error:
        settle([late, bad])
    assert [f.vantage for f in error.value.failures] == ["pod@two"]
    # who is as expected is, however late
    settle([replace(good, vantage=late.vantage)])


def test_an_overload_weighs_more_than_too_few_probes(path, context):
    context.lateness = Lateness()
    late = path(ok(), Answer(TIMEOUT), missed="a time-out", late=9.0)
    context.lateness.note("pod@one", late.result)
    with pytest.raises(CannotMeasure, match="timers of"):
        settle([path(ok(), node="two", least=3), late])


# --- diagnosis


@pytest.fixture
def examined(context):
    """The paths that were examined; what is found is their own node."""
    seen = []

    def examine(path):
        seen.append(path)
        return Finding("node", "the node", "broken", nodes=(path.vantage.node,))

    context.examine = examine
    return seen


def findings(seen):
    with pytest.raises(NotConforming) as error:
        settle(seen)
    return [failure.finding for failure in error.value.failures]


def test_failures_get_the_cause_that_was_found(path, examined):
    good, bad = path(ok()), path(Answer(TIMEOUT), node="two", missed="a time-out")
    bad.fail("more", "less")
    first, second = findings([good, bad])
    assert first == second == Finding("node", "the node", "broken", nodes=("two",))
    assert examined == [bad]


def test_what_fails_alike_is_examined_once(path, examined):
    seen = [path(Answer(TIMEOUT), missed="x", address=address) for address in (ADDRESS, CONTROL)]
    assert len(findings(seen)) == 2
    assert len(examined) == 1


@pytest.mark.parametrize(
    "other",
    [{"miss": BACKENDS}, {"address": replace(ADDRESS, way="nodeport")}, {"node": "two"}],
    ids=["another miss", "another way", "another vantage"],
)
def test_what_fails_otherwise_is_examined_too(path, examined, other):
    findings([path(Answer(TIMEOUT), missed="x"), path(Answer(TIMEOUT), missed="x", **other)])
    assert len(examined) == 2


def test_of_many_that_fail_alike_two_are_examined(path, examined):
    seen = [path(Answer(OK), missed="x", miss=SPREAD, node=node) for node in ("one", "two", "three", "four")]
    assert [finding.nodes for finding in findings(seen)] == [("one",), ("two",), ("three",), ("four",)]
    assert [one.vantage.node for one in examined] == ["one", "two"]
    assert _ALIKE == 2


def test_each_that_loses_probes_is_examined_up_to_six(path, examined):
    """Who loses probes, and where, is not the same for all: nothing is concluded from two of them."""
    names = ("one", "two", "three", "four", "five", "six", "seven")
    seen = [path(Answer(TIMEOUT), missed="x", node=node) for node in names]
    assert len(findings(seen)) == len(names)
    assert [one.vantage.node for one in examined] == list(names[:6])
    assert _EXAMINED == 6


def test_what_lies_elsewhere_is_not_put_down_to_others(path, context):
    context.examine = lambda _: Finding("node", "the node", "broken", nodes=("elsewhere",))
    seen = [path(Answer(TIMEOUT), missed="x", miss=SPREAD, node=node) for node in ("one", "two", "three")]
    assert findings(seen)[2] is None


def test_a_dns_replica_on_the_node_of_who_asked_is_not_put_down_to_others(path, context):
    context.examine = lambda path: Finding("dns", "DNS replica a", "broken", nodes=(path.vantage.node,))
    seen = [path(Answer(TIMEOUT), missed="x", miss=SPREAD, node=node) for node in ("one", "two", "three")]
    assert findings(seen)[2] is None


@pytest.mark.usefixtures("examined")
def test_another_way_or_miss_is_not_put_down_to_a_like(path):
    third = {"node": "three", "address": replace(ADDRESS, way="nodeport")}
    seen = [path(Answer(TIMEOUT), missed="x", miss=SPREAD, node=node) for node in ("one", "two")]
    assert findings([*seen, path(Answer(TIMEOUT), missed="x", miss=SPREAD, **third)])[2] is None


def test_nothing_was_found(path, context):
    context.examine = lambda _: None
    seen = [path(Answer(TIMEOUT), missed="x", miss=SPREAD, node=node) for node in ("one", "two", "three")]
    assert findings(seen) == [None] * 3
    assert [failure.evidence for one in seen for failure in one.failures] == [()] * 3


def test_nobody_examines(path):
    one = path(Answer(TIMEOUT), missed="x")
    assert findings([one]) == [None]
    assert one.failures[0].evidence == ()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyError("podIP"), "diagnosis failed: KeyError('podIP')"),
        (CannotMeasure("the stream broke", "Look at it."), "diagnosis failed: the stream broke"),
    ],
)
def test_a_diagnosis_that_fails_costs_only_itself(path, context, error, line):
    calls = []

    def examine(one):
        calls.append(one)
        if one.vantage.node == "one":
            raise error
        return Finding("node", "the node", "broken", nodes=(one.vantage.node,))

    context.examine = examine
    first, same = (path(Answer(TIMEOUT), missed="x", address=address) for address in (ADDRESS, CONTROL))
    first.failures = [replace(f, evidence=("before",)) for f in first.failures]
    other = path(Answer(TIMEOUT), missed="x", node="two")
    assert [finding is None for finding in findings([first, same, other])] == [True, True, False]
    assert first.failures[0].evidence == ("before", line)
    assert len(calls) == 2


# --- what was probed, as reports compare it


@pytest.mark.parametrize(
    ("series", "kind"),
    [
        (None, "http"),
        (Series("udp"), "udp"),
        (Series("udp", more={"size": 8192}), "udp of 8192 bytes"),
        (Series("http", burst=True), "burst"),
    ],
    ids=["the address", "a series", "of a size", "many at once"],
)
def test_what_was_probed_is_told(path, events, series, kind):
    one = path(ok())
    one.series = series
    settle([one])
    assert probed(events)[0].probe == kind
