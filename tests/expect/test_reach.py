"""Which series are made of a path, and which answers conform."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
from backends import NONCE
from staged import ADDRESS, CONTROL, Staged, noting, ok, played

from kubereach.expect.hold import hold_length, longer, spent
from kubereach.expect.reach import CONVERGED, OWN, STOP_AFTER, over, series_for, to_reach
from kubereach.model.convergence import CHANGED, ConvergenceDeadline
from kubereach.model.errors import CannotMeasure, NotConforming
from kubereach.model.events import Note, Probed
from kubereach.model.lateness import Lateness
from kubereach.model.misses import BACKENDS, LOST, MISSING, PORT, SOURCE
from kubereach.model.outcome import FOREIGN, OK, REFUSED, TIMEOUT, Answer, Probe, SeriesResult
from kubereach.probe.context import Answered
from kubereach.probe.path import Path

SILENT, REFUSAL = Answer(TIMEOUT), Answer(REFUSED)


def script_of(*turns):
    """The answers to one series after the other; the last for ever."""
    left = iter(turns)
    last = [None]

    def script(series):
        last[0] = next(left, last[0])
        return last[0](series) if callable(last[0]) else last[0]

    return script


@pytest.fixture
def vantage(context, clock):
    def make(*turns, **more):
        return Staged(context, clock, script_of(*(turns or ([ok()],))), **more)

    return make


@pytest.fixture
def whole(context):
    return hold_length(context.settings)


def expected(vantage, address=ADDRESS, backends=None, every=False, source=None, within=None):
    vantages = vantage if isinstance(vantage, list) else [vantage]
    to_reach(vantages, address, backends=backends, every=every, source=source, within=within)


def misses(*arguments, **more):
    with pytest.raises(NotConforming) as error:
        expected(*arguments, **more)
    return error.value.failures


def probed(events):
    return [event for event in events if isinstance(event, Probed)]


def turns(series, *counted):
    """So many answers of each, as ``(3, ok())``; the last for ever."""
    return played(series, [answer for count, answer in counted for _ in range(count)])


# --- the series


def test_what_is_asked(vantage, context):
    context.settings = replace(context.settings, hold_in_flight=3)
    address = replace(ADDRESS, family=6)
    series = series_for(Path(vantage(), address), 7)
    assert (series.kind, series.host, series.port, series.count) == ("http", ADDRESS.host, 80, 7)
    assert (series.in_flight, series.stop_after) == (3, STOP_AFTER)
    assert (series.timeout, series.nonce) == (context.settings.connect_timeout, NONCE)
    assert (series.more, series.retransmits, series.patient) == ({"family": 6}, True, False)
    assert series_for(Path(vantage(), address)).count == 1
    assert STOP_AFTER == 3


@pytest.mark.parametrize(
    ("kind", "counts", "udp"),
    [("http", True, False), ("tcp", True, False), ("udp", False, True), ("sctp", False, False)],
)
def test_packets_that_are_sent_again_are_counted_where_they_are(vantage, context, kind, counts, udp):
    series = series_for(Path(vantage(), replace(ADDRESS, kind=kind)))
    assert series.retransmits is counts
    settings = context.settings
    assert series.timeout == (settings.udp_timeout if udp else settings.connect_timeout)


def test_a_path_that_has_settled_is_held_at_once(vantage, whole, events, context):
    one = vantage()
    expected(one)
    (series,) = one.asked
    assert (series.count, series.patient) == (whole, True)
    (event,) = probed(events)
    assert (event.conforming, event.outcomes, event.converged) == (True, {OK: whole}, 0.0)
    assert not [event for event in events if isinstance(event, Note)]
    answered = context.answered["pod@one", "http", ADDRESS.host, 80]
    assert answered.pods == {"a"}


def test_a_path_that_may_still_converge_does_so_first(vantage, context, clock):
    one = vantage([REFUSAL], [REFUSAL], [ok()])
    expected(one, replace(ADDRESS, settled=clock.now + 30))
    first = hold_length(context.settings, miss=spent(context.settings, 0))
    assert [series.count for series in one.asked] == [CONVERGED, CONVERGED, CONVERGED, first]
    assert [series.patient for series in one.asked] == [False, False, False, True]
    # the first attempt is in a hurry
    assert [series.timeout for series in one.asked] == [0.25, 0.5, 0.5, 0.5]
    assert CONVERGED == 12
    assert first > hold_length(context.settings)


def test_within_is_time_to_converge_as_well(vantage, clock):
    begun = clock.now
    one = vantage([REFUSAL], [ok()])
    expected(one, within=5.0)
    assert len(one.asked) == 3
    misses(vantage([REFUSAL]), within=2.0)
    assert 1 < clock.now - begun < 4


def test_what_does_not_converge_fails_with_its_last_attempt(vantage, clock, events):
    one = vantage([REFUSAL])
    (failure,) = misses(one, replace(ADDRESS, settled=clock.now + 3))
    assert failure.expected == f"{CONVERGED} answers in a row"
    assert failure.got == f"3 refused (stopped after 3 of {CONVERGED} probes)"
    assert failure.miss == LOST
    assert {series.count for series in one.asked} == {CONVERGED}
    assert probed(events)[0].converged == -1.0


# --- misses in the hold


@pytest.mark.parametrize("answer", [SILENT, REFUSAL, Answer(FOREIGN)])
def test_one_miss_of_a_settled_path_fails(vantage, whole, answer):
    one = vantage(lambda series: turns(series, (40, ok()), (1, answer), (1, ok())))
    (failure,) = misses(one)
    assert failure.expected == f"{whole} answers in a row"
    assert failure.got.startswith(f"{whole - 1} answered, 1 ")
    assert "ended after" not in failure.got
    assert len(one.asked) == 1


def test_a_series_that_misses_ends_soon(vantage, whole, context):
    one = vantage(lambda series: turns(series, (40, ok()), (3, Answer(REFUSED, detail="by x"))))
    (failure,) = misses(one)
    assert failure.got == f"40 answered, 3 refused (stopped after 43 of {whole} probes)"
    assert failure.evidence == ("3 x by x", "answered by a (40)")
    assert "http" not in context.answered


def test_the_reasons_of_misses_are_told_the_most_frequent_first(vantage):
    details = ["a"] * 1 + ["b"] * 3 + ["c"] * 2 + ["d"] * 4 + [""] * 9
    one = vantage()
    one.script = lambda _: SeriesResult(tuple(Probe(Answer(REFUSED, detail=d), 0.1) for d in details), 0.1)
    (failure,) = misses(one)
    assert failure.evidence == ("4 x d", "3 x b", "2 x c")
    # what an answer says is no reason
    (failure,) = misses(vantage([ok(detail="hello"), REFUSAL, REFUSAL, REFUSAL]))
    assert failure.evidence == ("answered by a (1)",)


def test_too_few_probes_are_no_pass(vantage, whole):
    few = vantage(lambda _: SeriesResult((Probe(ok(), 0.01),) * (whole - 1), 0.1))
    with pytest.raises(CannotMeasure, match=f"sent {whole - 1} of at least {whole} probes"):
        expected(few)
    with pytest.raises(CannotMeasure, match="sent no probe to"):
        expected(vantage(lambda _: SeriesResult((), 0.1)))


def test_a_retransmission_is_a_miss(vantage, whole):
    def again(series):
        result = played(series, [ok()])
        probes = [replace(p, retransmits=n) for n, p in zip([0, 2, 1], result.probes, strict=False)]
        probes[1] = replace(probes[1], seconds=1.25)
        return SeriesResult((*probes, *result.probes[3:]), 0.1)

    (failure,) = misses(vantage(again))
    assert (failure.expected, failure.miss) == ("no packet lost", LOST)
    assert failure.got == f"2 of {whole} connections needed 3 retransmissions (counted by the kernel)"
    assert failure.evidence == ("the slowest of them took 1.25 s",)


# --- held again


def test_a_miss_before_it_has_settled_is_a_flap(vantage, clock, events, context):
    flapping = vantage([ok()], lambda series: turns(series, (40, ok()), (1, REFUSAL), (1, ok())), [ok()])
    expected(flapping, replace(ADDRESS, settled=clock.now + 30))
    settings = context.settings
    lengths = [hold_length(settings, miss=spent(settings, again)) for again in (0, 1)]
    assert [series.count for series in flapping.asked] == [CONVERGED, lengths[0], CONVERGED, lengths[1]]
    (told,) = [event.text for event in events if isinstance(event, Note)]
    assert told.startswith(
        f"pod@one at {replace(ADDRESS, settled=0)}: {lengths[0] - 1} answered, 1 refused before it"
    )
    assert probed(events)[0].outcomes == {OK: lengths[1]}


def test_a_flap_that_ends_in_a_failure_is_not_told(vantage, clock, events):
    flapping = vantage([ok()], lambda series: turns(series, (40, ok()), (1, REFUSAL), (1, ok())), [REFUSAL])
    (failure,) = misses(flapping, replace(ADDRESS, settled=clock.now + 3))
    assert failure.expected == f"{CONVERGED} answers in a row"
    assert not [event for event in events if isinstance(event, Note)]


def test_a_path_that_has_its_time_is_as_long_as_any(vantage, clock, context, whole):
    """Beside one that may still converge."""
    settled, other = vantage(), vantage([ok()], node="two")
    addresses = [ADDRESS, replace(CONTROL, settled=clock.now + 30)]
    expected([settled, other], addresses)
    first = hold_length(context.settings, miss=spent(context.settings, 0))
    counts = [(series.host == ADDRESS.host, series.count) for series in settled.asked]
    assert sorted(counts) == sorted([(False, CONVERGED), (True, whole), (False, first)])


def test_how_long_within_leaves_to_converge_again(vantage, clock):
    """The time that has passed is not given again."""
    begun = clock.now
    slow = vantage(
        [ok()], lambda series: replace(turns(series, (4, ok()), (3, REFUSAL)), seconds=4.0), [REFUSAL]
    )
    misses(slow, within=5.0)
    assert 4.5 < clock.now - begun < 6.5
    # one that began in time and ended after it is tried once more
    late = vantage(
        [ok()], lambda series: replace(turns(series, (4, ok()), (3, REFUSAL)), seconds=9.0), [REFUSAL]
    )
    misses(late, within=5.0)
    assert len(late.asked) == 3


def test_what_is_told_of_when_a_path_converged(vantage, clock, events):
    misses(vantage([REFUSAL]))
    clock.now += 1
    settled = ConvergenceDeadline.after(CHANGED, 30)
    clock.now += 0.5
    expected(vantage(), replace(ADDRESS, settled=settled))
    clock.now += 2.0
    flaps = vantage(lambda series: turns(series, (40, ok()), (3, REFUSAL)))
    misses(flaps, CONTROL)
    misses(vantage([REFUSAL]), CONTROL, within=1.0)
    assert [event.converged for event in probed(events)] == [-1.0, 0.5, 0.0, -1.0]


# --- backends


def test_only_those_that_may_answer_do(vantage, whole):
    expected(vantage([ok("a"), ok("b")]), backends={"a", "b", "c"})
    (failure,) = misses(vantage([ok("a"), ok("b"), ok("a")]), backends={"a"})
    assert (failure.expected, failure.got, failure.miss) == (
        "answers only from a",
        "also answers from b",
        BACKENDS,
    )
    assert failure.evidence == (f"answered by a ({whole - 1}), b (1)",)
    (failure,) = misses(vantage([ok("a")]), backends=set())
    assert failure.expected == "answers only from none"
    expected(vantage([ok("anybody")]))


def test_who_may_answer_may_depend_on_the_node(vantage):
    both = [vantage([ok("a")]), vantage([ok("b")], node="two")]
    expected(both, backends={"one": {"a"}, "two": {"b"}})
    (failure,) = misses(both, backends={"one": {"a"}})
    assert (failure.vantage, failure.expected) == ("pod@two", "answers only from none")


def by_turns(*pods):
    """Pods that answer one after the other, again and again."""

    def script(series):
        return played(series, [ok(pods[n % len(pods)]) for n in range(series.count)])

    return script


def test_where_every_one_must_answer_a_series_is_as_long_as_that_takes(vantage, context, clock):
    both = {"a", "b"}
    settings = context.settings
    for settled, length in (
        (0.0, hold_length(settings, 2)),
        (clock.now + 30, hold_length(settings, 2, miss=spent(settings, 0))),
    ):
        one = vantage(by_turns("a", "b"))
        expected(one, replace(ADDRESS, settled=settled), backends=both, every=True)
        assert [series.count for series in one.asked] == [length]
    assert hold_length(settings, 20) > hold_length(settings, 2)
    twenty = vantage(by_turns(*"abcdefghijklmnopqrst"))
    expected(twenty, backends=set("abcdefghijklmnopqrst"), every=True)
    assert [series.count for series in twenty.asked] == [hold_length(settings, 20)]


def test_without_a_name_of_a_pod_every_one_is_nobody(vantage, clock):
    for settled in (0.0, clock.now + 30):
        expected(vantage(), replace(ADDRESS, settled=settled), every=True)


def test_where_not_every_one_must_answer_their_number_does_not_matter(vantage, whole):
    one = vantage([ok("a")])
    expected(one, backends=set("abcdefghijklmnopqrst"))
    assert [series.count for series in one.asked] == [whole]


@pytest.mark.parametrize("settled", [0.0, 1.0])
def test_an_endpoint_that_never_answers_fails(vantage, clock, settled):
    address = replace(ADDRESS, settled=settled and clock.now + settled)
    (failure,) = misses(vantage(by_turns("a", "b")), address, backends={"a", "b", "c"}, every=True)
    assert (failure.expected, failure.got, failure.miss) == (
        "answers from each of a, b, c",
        "none from c",
        MISSING,
    )
    expected(vantage(by_turns("a", "b")), address, backends={"a", "b", "c"})


def test_of_a_series_that_ended_early_nobody_is_missing(vantage):
    one = vantage(lambda series: turns(series, (5, ok("a")), (3, REFUSAL)))
    (failure,) = misses(one, backends={"a", "b"}, every=True)
    assert failure.miss == LOST


def test_a_whole_series_at_the_first_attempt_is_the_hold(vantage, clock):
    address = replace(ADDRESS, settled=clock.now + 30)
    at_once, later = vantage(by_turns("a")), vantage([REFUSAL], by_turns("a"))
    expected(at_once, address, backends={"a"}, every=True)
    assert len(at_once.asked) == 1
    # of several attempts one may be as expected by luck
    expected(later, address, backends={"a"}, every=True)
    first, second, third = later.asked
    assert first.count == second.count
    assert (third.patient, third.count) == (
        True,
        hold_length(later.context.settings, 1, spent(later.context.settings, 1)),
    )


def test_endpoints_that_change_in_the_middle_of_a_series_are_not_balanced_over(vantage, clock):
    def changing(series):
        half = series.count // 2
        return turns(series, (half, ok("a")), (series.count - half, ok("b")))

    address = replace(ADDRESS, settled=clock.now + 30)
    one = vantage(changing, by_turns("a", "b"))
    expected(one, address, backends={"a", "b"}, every=True)
    assert len(one.asked) == 3
    # one that has settled is taken at its word
    expected(vantage(changing), backends={"a", "b"}, every=True)
    # and so is one of which not every one must answer
    any_of_them = vantage(changing)
    expected(any_of_them, address, backends={"a", "b"})
    assert len(any_of_them.asked) == 2
    # who is in both halves is there, wherever in them
    middle = vantage()
    middle.script = lambda series: turns(
        series, (series.count // 2 - 2, ok("a")), (4, ok("b")), (series.count, ok("a"))
    )
    expected(middle, address, backends={"a", "b"}, every=True)
    assert len(middle.asked) == 1
    # who is seen at the very end alone was not there before
    added = vantage(
        lambda series: turns(series, (series.count - 1, ok("a")), (1, ok("b"))), by_turns("a", "b")
    )
    expected(added, address, backends={"a", "b"}, every=True)
    assert len(added.asked) == 3


# --- ports and sources


def test_the_target_port_is_hit(vantage):
    address = replace(ADDRESS, targets=(("a", 8080), ("b", 9090)))
    expected(vantage([ok("a", port=8080), ok("b", port=9090), ok("c", port=1)]), address)
    (failure,) = misses(vantage([ok("a", port=8080), ok("b", port=8080), ok("a", port=8080)]), address)
    assert (failure.expected, failure.miss) == ("connections to the target port: a on 8080, b on 9090", PORT)
    assert failure.got == "b on 8080 (1)"


def test_the_port_of_a_miss_is_none(vantage):
    address = replace(ADDRESS, targets=(("", 8080),))
    (failure,) = misses(vantage([Answer(REFUSED, port=1)]), address)
    assert failure.miss == LOST


def test_the_source_is_seen(vantage, whole):
    theirs = ok(local="10.0.0.1")
    expected(vantage([theirs]), source=OWN)
    expected(vantage([theirs]), source="10.0.0.1")
    (failure,) = misses(vantage([theirs]), source="192.0.2.7")
    assert (failure.expected, failure.miss) == ("the backend sees 192.0.2.7 as source IP", SOURCE)
    assert failure.got == f"source IP 10.0.0.1 ({whole})"
    assert failure.evidence == (f"answered by a ({whole})",)
    (failure,) = misses(vantage([theirs], address="10.0.0.2"), source=OWN)
    assert failure.expected == "the backend sees 10.0.0.2 as source IP"
    (failure,) = misses(vantage([theirs], address=""), source=OWN)
    assert failure.expected == "the backend sees the client's own address as source IP"
    many = [replace(ok(), client=f"192.0.2.{n}") for n in range(8)]
    (failure,) = misses(vantage(many), source=OWN)
    assert failure.got.count("(") == 6


def test_each_thing_that_is_wrong_is_told(vantage):
    address = replace(ADDRESS, targets=(("a", 8080),))
    found = misses(vantage([ok("a", port=1), REFUSAL, REFUSAL, REFUSAL]), address, backends={"b"}, source="x")
    assert [failure.miss for failure in found] == [LOST, BACKENDS, PORT, SOURCE]


# --- the barrier


@pytest.fixture
def younger(context):
    """How often a younger Service was made."""
    made = []

    @contextmanager
    def make(node_port, _):
        made.append(node_port)
        yield replace(ADDRESS, host="10.96.7.7", settled=ConvergenceDeadline.after(CHANGED, 5)), 0

    context.younger = make
    return made


def changed():
    return replace(ADDRESS, settled=ConvergenceDeadline.after(CHANGED, 30))


def test_what_answered_before_a_change_proves_nothing(vantage, clock, younger, context):
    expected(vantage(), backends={"a"})
    clock.now += 1
    expected(vantage(), changed(), backends={"a"})
    assert younger == [False]
    # whoever may answer, the endpoints of before are among them
    clock.now += 1
    expected(vantage(), changed())
    assert len(younger) == 2
    # the old state gave another answer
    context.answered["pod@one", "http", ADDRESS.host, 80] = Answered(clock.now, frozenset({"b"}))
    clock.now += 1
    expected(vantage(), changed(), backends={"a"})
    assert len(younger) == 2


def test_a_hurried_attempt_that_lost_an_answer_is_no_sign_of_the_change(vantage, clock, younger):
    """On a busy machine; the old rules answer on."""
    expected(vantage(), backends={"a"})
    clock.now += 1
    expected(vantage([SILENT], [ok()]), changed(), backends={"a"})
    assert younger == [False]


@pytest.mark.usefixtures("younger")
def test_a_series_of_before_the_barrier_is_not_the_hold(vantage, clock, context):
    """The old rules answer once more, from every endpoint; then the change is obeyed, and breaks the Service."""
    both = {"a", "b"}
    expected(vantage(by_turns("a", "b")), backends=both, every=True)
    clock.now += 1
    obeyed = []

    def script(series):
        if series.host != ADDRESS.host:
            obeyed.append(True)
            return [ok("younger")]
        return [REFUSAL] if obeyed else by_turns("a", "b")(series)

    broken = vantage(script)
    assert misses(broken, changed(), backends=both, every=True)
    # and where it breaks nothing it is held
    clock.now += 60
    fine = vantage(by_turns("a", "b"))
    expected(fine, changed(), backends=both, every=True)
    settings = context.settings
    lengths = [hold_length(settings, 2, spent(settings, again)) for again in (0, 1)]
    assert [series.count for series in fine.asked if series.host == ADDRESS.host] == lengths


@pytest.mark.usefixtures("younger")
def test_a_change_that_no_younger_service_follows_could_not_be_measured_and_is_not_held(vantage, clock):
    expected(vantage(), backends={"a"})
    clock.now += 1

    def blind(series):
        return [REFUSAL] if series.host == "10.96.7.7" else [ok()]

    one = vantage(blind)
    with pytest.raises(CannotMeasure, match="does not reach a Service that was created after the change"):
        expected(one, changed(), backends={"a"})
    assert [series.count for series in one.asked if series.host == ADDRESS.host] == [CONVERGED]
    assert one.context.answered["pod@one", "http", ADDRESS.host, 80].at < clock.now - 5


def test_where_something_did_not_converge_none_is_made(vantage, clock, younger):
    both = [vantage(), vantage(node="two")]
    expected(both, backends={"a"})
    clock.now += 1
    late = vantage([REFUSAL], node="two")
    (failure,) = misses([vantage(), late], changed(), backends={"a"})
    assert failure.vantage == "pod@two"
    assert younger == []


def test_what_did_not_converge_needs_no_younger_service(vantage, clock, younger):
    expected(vantage(), backends={"a"})
    clock.now += 1
    misses(
        vantage([REFUSAL]), replace(ADDRESS, settled=ConvergenceDeadline.after(CHANGED, 0.01)), backends={"a"}
    )
    assert not younger


def test_a_miss_leaves_what_was_answered_before(vantage, context):
    misses(vantage([REFUSAL]))
    assert not context.answered


# --- second opinions


def test_from_outside_an_ordinary_client_must_get_through_too(vantage, context):
    outside = vantage(kind="outside")
    expected(outside)
    assert outside.opinions == [(f"{ADDRESS.url}/who", context.settings.connect_timeout)]
    outside = vantage(kind="outside")
    outside.opinion = "HTTP status 500"
    (failure,) = misses(outside)
    assert (failure.expected, failure.got) == ("an answer to an ordinary HTTP client", "HTTP status 500")
    assert failure.evidence == ("kubereach's own prober got an answer",)


def test_who_is_not_asked_for_a_second_opinion(vantage):
    inside, other, broken = vantage(), vantage(kind="outside"), vantage([REFUSAL], kind="outside")
    for one in (inside, other, broken):
        one.opinion = "HTTP status 500"
    expected(inside)
    expected(other, replace(ADDRESS, kind="tcp"))
    assert len(misses(broken)) == 1
    assert inside.opinions == other.opinions == broken.opinions == []


def test_a_complaint_of_one_path_leaves_the_others(vantage):
    first, second = vantage(kind="outside"), vantage(kind="outside", node="two")
    second.opinion = "HTTP status 500"
    assert [failure.vantage for failure in misses([first, second])] == ["outside@two"]


def test_paths_can_be_given_themselves(vantage, whole):
    one = vantage()
    over([Path(one, ADDRESS)])
    assert [series.count for series in one.asked] == [whole]
    # anybody of them may answer, then
    over([Path(one, ADDRESS)], {"a", "b"})


# --- a machine that was late


def test_what_a_late_machine_lost_is_measured_again(vantage, context, whole):
    context.lateness = Lateness()
    one = vantage()
    one.script = noting(context, [ok(), SILENT, ok()], [ok()])
    expected(one, backends={"a"})
    lengths = [longer(context.settings, whole, again) for again in (0, 1)]
    assert [series.count for series in one.asked] == [lengths[0], CONVERGED, lengths[1]]
    assert lengths[0] == whole < lengths[1]
    # also where each series is to show every endpoint
    every = vantage()
    every.script = noting(context, [ok(), SILENT, ok()], [ok()])
    expected(every, backends={"a"}, every=True)
    assert [series.count for series in every.asked[::2]] == lengths


def test_a_stranger_that_answered_meanwhile_is_not_forgotten(vantage, context):
    context.lateness = Lateness()
    one = vantage()
    one.script = noting(context, [ok(), SILENT, ok("b"), ok()], [ok()])
    found = misses(one, backends={"a"})
    assert [failure.miss for failure in found] == [LOST, BACKENDS]
    assert len(one.asked) == 1
