"""Which questions are asked about names, how often, and which answers conform."""

from __future__ import annotations

import base64
from dataclasses import replace
from types import SimpleNamespace

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from staged import Staged, played

from kubereach.expect import dns_hold
from kubereach.expect.dns import Query, to_get_records, to_report_records
from kubereach.expect.hold import hold_length, longer
from kubereach.expect.reach import CONVERGED, STOP_AFTER
from kubereach.expect.resolver import UNKNOWN_NAME, not_resolve, to_find, to_resolve
from kubereach.expect.srv import one_address, srv_targets
from kubereach.model.address import Address
from kubereach.model.convergence import CHANGED, ConvergenceDeadline
from kubereach.model.errors import CannotMeasure, NotConforming
from kubereach.model.events import Note, Probed
from kubereach.model.lateness import Lateness
from kubereach.model.outcome import (
    LOCAL,
    NODATA,
    NXDOMAIN,
    OK,
    REFUSED,
    SERVFAIL,
    TIMEOUT,
    Answer,
    Probe,
    SeriesResult,
)
from kubereach.probe import dns_message

SERVER = Address("dns", "dns", "10.96.0.10", 53, 0.0, "kube-dns")
NAME, CONTROL = "web.shop.svc.cluster.local.", "kubernetes.default.svc.cluster.local."
SILENT = Answer(TIMEOUT)


def found(*addresses):
    """What a resolver finds."""
    return Answer(OK, detail=" ".join(addresses))


UNKNOWN = Answer(NXDOMAIN)


def reply(rdtype, *records, rcode="NOERROR", truncated=False, ttl=5, name=NAME):
    """A DNS server's answer, as a prober gives it."""
    message = dns.message.make_response(dns.message.make_query(name, rdtype, use_edns=False))
    message.set_rcode(dns.rcode.from_text(rcode))
    if truncated:
        message.flags |= dns.flags.TC
    if records:
        message.answer = [dns.rrset.from_text(name, ttl, "IN", rdtype, *records)]
    outcome = NXDOMAIN if rcode == "NXDOMAIN" else OK if records else NODATA
    return Answer(outcome, detail=base64.b64encode(message.to_wire()).decode())


def twice(rdtype, record):
    """An answer that has the same record in two sets."""
    message = dns.message.make_response(dns.message.make_query(NAME, rdtype, use_edns=False))
    for name in (NAME, "other.x."):
        message.answer.append(dns.rrset.from_text(name, 5, "IN", rdtype, record))
    return Answer(OK, detail=base64.b64encode(message.to_wire()).decode())


@pytest.fixture
def vantage(context, clock):
    def make(*turns, control=None, **more):
        left = iter(turns)
        last = [None]

        def script(series):
            if control is not None and series.host == CONTROL:
                return control() if callable(control) else control
            last[0] = next(left, last[0])
            return last[0](series) if callable(last[0]) else last[0]

        made = Staged(context, clock, script, **more)
        made.read_file = lambda _: "nameserver 10.96.0.10\n"
        return made

    return make


def misses(call):
    with pytest.raises(NotConforming) as error:
        call()
    return error.value.failures


def probed(events):
    return [event for event in events if isinstance(event, Probed)]


def texts(events):
    return [event.text for event in events if isinstance(event, Note)]


# --- what the vantage's own resolver finds


def resolved(vantage, *addresses, names=NAME, settled=0.0, within=None):
    to_resolve([vantage], names, addresses, settled=settled, within=within)


def test_a_name_has_exactly_these_addresses(vantage, events, context):
    context.settings = replace(context.settings, hold_in_flight=3)
    one = vantage([found("fd00::2", "fd00::1")])
    resolved(one, "fd00::1", "fd00::2")
    (series,) = one.asked
    assert (series.kind, series.host, series.count) == ("resolve", NAME, context.settings.resolve_hold)
    assert (series.in_flight, series.stop_after) == (3, STOP_AFTER)
    assert series.timeout == pytest.approx(1.5 * context.settings.dns_timeout)
    assert (series.wanted, series.more, series.patient) == ((OK, NXDOMAIN, NODATA), {"family": 6}, True)
    (event,) = probed(events)
    assert (event.conforming, event.way, event.address) == (True, "dns", f"dns resolve://{NAME}:0")
    assert event.converged == 0.0


def test_a_resolver_asks_several_questions_in_the_time_for_one_and_a_half(vantage, context):
    """And it has given its answer before it asks again, which would hide that a packet was lost."""
    context.settings = replace(context.settings, dns_timeout=2.0)
    for resends, timeout in ((5.0, 3.0), (2.5, 2.0)):
        one = vantage([found("10.96.0.1")])
        one.resends_after = resends
        resolved(one, "10.96.0.1")
        assert one.asked[0].timeout == pytest.approx(timeout)


def test_a_prober_has_greeted_before_its_resolver_is_timed(vantage):
    one = vantage([found("10.96.0.1")])
    one.resends_after = 0.1
    one.open = lambda: setattr(one, "resends_after", 0.2)
    resolved(one, "10.96.0.1")
    assert one.asked[0].timeout == pytest.approx(0.16)


@pytest.mark.parametrize(
    ("answer", "expected", "got", "evidence"),
    [
        (found("10.96.0.1"), "exactly 10.96.0.1, 10.96.0.2", "10.96.0.1", ("missing: 10.96.0.2",)),
        (
            found("10.96.0.1", "10.96.0.2", "10.96.0.3"),
            "exactly 10.96.0.1, 10.96.0.2",
            "10.96.0.1, 10.96.0.2, 10.96.0.3",
            ("unexpected: 10.96.0.3",),
        ),
        (found(), "exactly 10.96.0.1, 10.96.0.2", "none", ("missing: 10.96.0.1, 10.96.0.2",)),
        (UNKNOWN, "10.96.0.1, 10.96.0.2", "3 NXDOMAIN", ()),
        (SILENT, "10.96.0.1, 10.96.0.2", "3 timed out", ()),
        # what is no answer has no addresses, whatever it says
        (Answer(REFUSED, detail="10.96.0.1 10.96.0.2"), "10.96.0.1, 10.96.0.2", "3 refused", ()),
    ],
)
def test_a_name_with_other_addresses_fails(vantage, events, answer, expected, got, evidence):
    one = vantage([answer])
    (failure,) = misses(lambda: resolved(one, "10.96.0.1", "10.96.0.2"))
    assert (failure.expected, failure.got, failure.evidence) == (expected, got, evidence)
    assert not probed(events)[0].conforming


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_wrong_answer_fails(vantage, place):
    answers = [found("10.96.0.1")] * 3
    answers[place] = found("10.96.0.9")
    (failure,) = misses(lambda: resolved(vantage(answers), "10.96.0.1"))
    assert failure.got == "10.96.0.9"


def test_each_name_is_looked_up(vantage):
    one = vantage([found("10.96.0.1")])
    resolved(one, "10.96.0.1", names=("a.", "b."))
    assert [series.host for series in one.asked] == ["a.", "b."]


def test_no_probe_is_no_pass(vantage):
    with pytest.raises(CannotMeasure, match="sent no probe"):
        resolved(vantage(lambda _: SeriesResult((), 0.1)), "10.96.0.1")
    with pytest.raises(CannotMeasure, match="sent 1 of at least 3"):
        resolved(vantage(lambda _: SeriesResult((Probe(found("10.96.0.1"), 0.1),), 0.1)), "10.96.0.1")
    with pytest.raises(CannotMeasure, match="could not probe"):
        resolved(vantage([Answer(LOCAL, detail="no descriptor")]), "10.96.0.1")


# --- converging and holding


def test_a_name_that_has_yet_to_change_converges_and_is_held(vantage, clock, events, context):
    context.settings = replace(context.settings, resolve_hold=CONVERGED + 8)
    one = vantage([UNKNOWN], [UNKNOWN], [found("10.96.0.1")])
    resolved(one, "10.96.0.1", settled=clock.now + 30)
    assert [series.count for series in one.asked] == [CONVERGED] * 3 + [CONVERGED + 8]
    assert [series.patient for series in one.asked] == [False] * 3 + [True]
    assert probed(events)[0].converged > 0


@pytest.mark.parametrize("hold", [3, CONVERGED])
def test_a_first_attempt_as_long_as_the_hold_is_the_hold(vantage, clock, context, hold):
    context.settings = replace(context.settings, resolve_hold=hold)
    at_once, later = vantage([found("10.96.0.1")]), vantage([UNKNOWN], [found("10.96.0.1")])
    resolved(at_once, "10.96.0.1", settled=clock.now + 30)
    assert [series.count for series in at_once.asked] == [hold]
    resolved(later, "10.96.0.1", settled=clock.now + 30)
    assert [series.count for series in later.asked] == [hold] * 3


def test_a_first_attempt_shorter_than_the_hold_is_not(vantage, clock, context):
    context.settings = replace(context.settings, resolve_hold=CONVERGED + 1)
    one = vantage([found("10.96.0.1")])
    resolved(one, "10.96.0.1", settled=clock.now + 30)
    assert [series.count for series in one.asked] == [CONVERGED, CONVERGED + 1]


def test_within_is_time_to_converge(vantage, clock):
    one = vantage([UNKNOWN], [found("10.96.0.1")])
    resolved(one, "10.96.0.1", within=5.0)
    assert len(one.asked) == 3
    begun = clock.now
    misses(lambda: resolved(vantage([UNKNOWN]), "10.96.0.1", within=2.0))
    assert 1 < clock.now - begun < 4


def test_what_has_settled_is_not_waited_for(vantage, clock):
    one = vantage([UNKNOWN], [found("10.96.0.1")])
    misses(lambda: resolved(one, "10.96.0.1", settled=clock.now))
    assert [series.patient for series in one.asked] == [True]


def test_a_name_that_flaps_before_it_has_settled_is_held_again_and_told(vantage, clock, events, context):
    settings = context.settings = replace(context.settings, resolve_hold=20)
    good = [found("10.96.0.1")]
    one = vantage(good, [*good * 5, UNKNOWN, *good], good)
    resolved(one, "10.96.0.1", settled=clock.now + 30)
    again = longer(settings, 20, 1)
    assert [series.count for series in one.asked] == [CONVERGED, 20, CONVERGED, again]
    assert again > 20
    (told,) = texts(events)
    assert "19 answered, 1 NXDOMAIN before it settled" in told


def test_a_flap_that_ends_in_a_failure_is_not_told(vantage, clock, events, context):
    context.settings = replace(context.settings, resolve_hold=20)
    good = [found("10.96.0.1")]
    one = vantage(good, [*good * 5, UNKNOWN, *good], [UNKNOWN])
    misses(lambda: resolved(one, "10.96.0.1", settled=clock.now + 3))
    assert texts(events) == []
    # nor is one that is wrong in the end, once it has settled
    flapping = lambda series: replace(played(series, [*good * 5, UNKNOWN, *good]), seconds=2.0)  # noqa: E731
    misses(lambda: resolved(vantage(good, flapping, good, flapping), "10.96.0.1", settled=clock.now + 2))
    assert texts(events) == []


def test_time_that_has_passed_is_not_given_again(vantage, clock, context):
    context.settings = replace(context.settings, resolve_hold=20)
    good = [found("10.96.0.1")]
    begun = clock.now
    slow = vantage(good, lambda series: replace(played(series, [UNKNOWN]), seconds=4.0), [UNKNOWN])
    misses(lambda: resolved(slow, "10.96.0.1", within=5.0))
    assert 4.5 < clock.now - begun < 7
    # one that began in time and ended after it is tried once more
    late = vantage(good, lambda series: replace(played(series, [UNKNOWN]), seconds=9.0), [UNKNOWN])
    misses(lambda: resolved(late, "10.96.0.1", within=5.0))
    assert len(late.asked) == 3


def test_several_names_have_each_their_own_course(vantage, clock):
    """One has settled, one converges at once and one never does."""
    begun = clock.now

    def script(series):
        return [UNKNOWN] if series.host == "c." else [found("10.96.0.1")]

    one = vantage(script)
    (failure,) = misses(lambda: resolved(one, "10.96.0.1", names=("a.", "c."), settled=begun + 1))
    assert failure.address.endswith("c.:0")
    assert len([series for series in one.asked if series.host == "a."]) == 1


# --- caches


@pytest.fixture
def forgotten(monkeypatch, clock):
    """What was given to be forgotten, by a cache that has forgotten after 5 s."""
    asked = []

    def forgetting(late, question):
        asked.append((late, question))
        for path in late:
            path.address = replace(path.address, settled=clock.now + 5)
        return late

    monkeypatch.setattr(dns_hold, "forgetting", forgetting)
    return asked


def test_what_a_cache_may_hold_is_waited_for(vantage, clock, forgotten, events):
    begun = clock.now
    one = vantage(lambda _: [found("10.96.0.1") if clock.now > begun + 4 else UNKNOWN])
    resolved(one, "10.96.0.1", settled=clock.now + 1)
    # what has converged once it was forgotten is held
    assert [series.patient for series in one.asked[-2:]] == [False, True]
    ((_, question),) = forgotten
    assert question.rdtype == "A"
    assert question.right(dns_message.Reply("NOERROR", False, frozenset({"10.96.0.1"})))
    assert not question.right(dns_message.Reply("NOERROR", False, frozenset()))
    assert probed(events)[0].conforming


def test_the_question_to_a_cache_is_of_the_same_family(vantage, clock, forgotten):
    misses(lambda: resolved(vantage([UNKNOWN]), "fd00::1", settled=clock.now + 1))
    assert forgotten[0][1].rdtype == "AAAA"


@pytest.mark.parametrize("answer", [SILENT, Answer(REFUSED), Answer(SERVFAIL)])
def test_only_an_answer_may_come_out_of_a_cache(vantage, clock, forgotten, answer):
    misses(lambda: resolved(vantage([answer]), "10.96.0.1", settled=clock.now + 1))
    assert not forgotten


@pytest.mark.parametrize("answer", [found("10.96.0.9"), Answer(NODATA), UNKNOWN])
def test_a_wrong_answer_may_come_out_of_a_cache(vantage, clock, forgotten, answer):
    misses(
        lambda: resolved(vantage([found("10.96.0.1"), answer, SILENT]), "10.96.0.1", settled=clock.now + 1)
    )
    assert len(forgotten) == 1


def test_right_answers_beside_silence_are_no_caches(vantage, clock, forgotten):
    misses(lambda: resolved(vantage([found("10.96.0.1"), SILENT]), "10.96.0.1", settled=clock.now + 1))
    assert not forgotten


def test_with_a_limit_of_its_own_no_cache_is_waited_for(vantage, forgotten):
    misses(lambda: resolved(vantage([UNKNOWN]), "10.96.0.1", within=1.0))
    misses(lambda: resolved(vantage([UNKNOWN]), "10.96.0.1", within=0.0))
    assert not forgotten


@pytest.mark.usefixtures("forgotten")
def test_what_a_cache_does_not_forget_fails(vantage, clock, events):
    begun = clock.now
    (failure,) = misses(lambda: resolved(vantage([UNKNOWN]), "10.96.0.1", settled=clock.now + 1))
    assert failure.got == "3 NXDOMAIN"
    assert 5.5 < clock.now - begun < 8
    (event,) = probed(events)
    assert event.converged == -1.0


def test_what_no_cache_holds_back_fails_without_it(vantage, clock, monkeypatch):
    monkeypatch.setattr(dns_hold, "forgetting", lambda *_: [])
    one = vantage([UNKNOWN], [found("10.96.0.1")])
    misses(lambda: resolved(one, "10.96.0.1", settled=clock.now + 0.01))
    # it was tried to converge and is not held
    assert len(one.asked) == 1


def test_of_several_only_those_in_a_caches_way_are_tried_again(vantage, clock, monkeypatch):
    def forgetting(late, _):
        cached = [path for path in late if path.address.host == "a."]
        for path in cached:
            path.address = replace(path.address, settled=clock.now + 5)
        return cached

    monkeypatch.setattr(dns_hold, "forgetting", forgetting)
    begun = clock.now

    def script(series):
        return [found("10.96.0.1") if clock.now > begun + (3 if series.host == "a." else 2) else UNKNOWN]

    one = vantage(script)
    (failure,) = misses(lambda: resolved(one, "10.96.0.1", names=("a.", "b."), settled=begun + 1))
    assert failure.address.endswith("b.:0")
    assert max(at for series, at in zip(one.asked, one.at, strict=True) if series.host == "b.") < begun + 2


def test_what_has_not_converged_is_given_no_other_series(vantage, clock):
    one = vantage([UNKNOWN], [UNKNOWN], [found("10.96.0.1")])
    misses(lambda: resolved(one, "10.96.0.1", settled=clock.now + 0.015))
    assert len(one.asked) == 2


# --- names that must not be found


def not_found(vantage, accepted=frozenset({NXDOMAIN}), control=CONTROL, settled=0.0):
    not_resolve([vantage], [NAME], control, accepted, settled)


def test_a_name_that_is_unknown(vantage):
    one = vantage([UNKNOWN], control=[found("10.96.0.1")])
    not_found(one)
    before, series, after = one.asked
    assert (before.host, before.count, before.more) == (CONTROL, 1, {"family": 4})
    assert (series.host, series.count, series.more) == (NAME, 3, {"family": 4})
    assert (after.host, after.count) == (CONTROL, 1)


@pytest.mark.parametrize(("hold", "count"), [(2, 2), (3, 3), (9, 3)])
def test_that_it_is_unknown_is_asked_a_few_times(vantage, context, hold, count):
    context.settings = replace(context.settings, resolve_hold=hold)
    one = vantage([UNKNOWN], control=[found("10.96.0.1")])
    not_found(one)
    assert one.asked[1].count == count


@pytest.mark.parametrize(
    ("answers", "got", "evidence"),
    [
        ([UNKNOWN, found("10.96.0.9"), UNKNOWN], "2 NXDOMAIN, 1 answered", ("it resolves to 10.96.0.9",)),
        ([Answer(SERVFAIL, detail="the server failed")], "3 SERVFAIL", ("the server failed",)),
        ([Answer(NODATA)], "3 NODATA (no records)", ()),
    ],
)
def test_a_name_that_is_known_fails_once(vantage, answers, got, evidence):
    one = vantage(answers, control=[found("10.96.0.1")])
    (failure,) = misses(lambda: not_found(one))
    assert (failure.expected, failure.got, failure.evidence) == ("no such name (NXDOMAIN)", got, evidence)


def test_what_counts_as_unknown_is_given(vantage):
    assert {NXDOMAIN, NODATA, SERVFAIL, TIMEOUT} == UNKNOWN_NAME
    for outcome in UNKNOWN_NAME:
        not_found(vantage([Answer(outcome)]), UNKNOWN_NAME, control="")
    assert misses(lambda: not_found(vantage([Answer(REFUSED)]), UNKNOWN_NAME, control=""))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("answer", [UNKNOWN, SILENT])
def test_a_control_that_is_not_found_leaves_no_verdict(vantage, when, answer):
    left = iter([[found("10.96.0.1")]] * (when == "after") + [[answer]] * 2)
    one = vantage([UNKNOWN], control=lambda: next(left))
    with pytest.raises(CannotMeasure, match=f"the control just {when} failed: pod@one resolves {CONTROL}"):
        not_found(one)


def test_a_control_without_a_probe_is_none(vantage):
    one = vantage([UNKNOWN], control=lambda: SeriesResult((), 0.1))
    with pytest.raises(CannotMeasure, match="sent no probe"):
        not_found(one)


def test_each_vantage_has_its_control(vantage):
    good = vantage([UNKNOWN], control=[found("10.96.0.1")])
    bad = vantage([UNKNOWN], control=[UNKNOWN], node="two")
    with pytest.raises(CannotMeasure, match="pod@two resolves"):
        not_resolve([good, bad], [NAME], CONTROL, frozenset({NXDOMAIN}), 0.0)


def test_names_are_looked_up_in_the_clusters_ip_version(vantage, context, clock, forgotten):
    context.ip_version = 6
    one = vantage([UNKNOWN], control=[found("fd00::1")])
    not_found(one)
    assert [series.more for series in one.asked] == [{"family": 6}] * 3
    misses(lambda: not_found(vantage([found("fd00::9")]), control="", settled=clock.now + 1))
    assert forgotten[0][1].rdtype == "AAAA"


def test_without_a_name_there_is_no_control(vantage):
    one = vantage([UNKNOWN])
    not_found(one, control="")
    assert [series.host for series in one.asked] == [NAME]


def test_a_name_that_goes_is_waited_for(vantage, clock, forgotten):
    one = vantage([found("10.96.0.9")], [UNKNOWN])
    not_found(one, control="", settled=clock.now + 20)
    begun = clock.now
    cached = vantage(lambda _: [UNKNOWN if clock.now > begun + 4 else found("10.96.0.9")])
    not_found(cached, control="", settled=clock.now + 1)
    ((_, question),) = forgotten
    assert question.rdtype == "A"
    assert question.right(SimpleNamespace(rcode="NXDOMAIN"))
    assert not question.right(SimpleNamespace(rcode="NOERROR"))


def test_the_diagnosis_knows_what_is_accepted(vantage, context):
    seen = []
    context.examine = seen.append
    misses(lambda: not_found(vantage([found("10.96.0.9")]), control=""))
    misses(lambda: resolved(vantage([UNKNOWN]), "10.96.0.1"))
    assert seen[0].judged(UNKNOWN)
    assert not seen[0].judged(found("10.96.0.9"))
    assert seen[1].wanted == {"10.96.0.1"}


# --- what a server answers


def answered(vantage, *records, rdtype="A", thorough=False, settled=0.0, **more):
    server = replace(SERVER, settled=settled)
    to_get_records([vantage], Query(rdtype, NAME, **more), records, by=server, thorough=thorough)


def test_the_question(vantage, context):
    context.settings = replace(context.settings, hold_in_flight=3)
    one = vantage([reply("A", "10.96.0.1")])
    answered(one, "10.96.0.1", transport="tcp")
    (series,) = one.asked
    settings = context.settings
    assert (series.kind, series.host, series.port) == ("dns", SERVER.host, 53)
    assert (series.count, series.in_flight, series.timeout) == (
        settings.resolve_hold,
        settings.hold_in_flight,
        settings.dns_timeout,
    )
    assert (series.wanted, series.stop_after) == ((OK, NODATA, NXDOMAIN), STOP_AFTER)
    assert series.more["transport"] == "tcp"
    message = dns.message.from_wire(base64.b64decode(series.more["message"]))
    assert (message.question[0].name.to_text(), message.question[0].rdtype) == (NAME, dns.rdatatype.A)
    thorough = vantage([reply("A", "10.96.0.1")])
    answered(thorough, "10.96.0.1", thorough=True)
    assert thorough.asked[0].count == hold_length(settings)


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (reply("A", "10.96.0.1", "10.96.0.2"), {}),
        (reply("A", "10.96.0.2", "10.96.0.1"), {}),
        (reply("A", "10.96.0.1", truncated=True), {"truncated": True}),
        (reply("A", "10.96.0.1", "10.96.0.2", truncated=True), {"truncated": True}),
    ],
)
def test_the_right_answer(vantage, answer, more):
    answered(vantage([answer]), "10.96.0.1", "10.96.0.2", **more)


def test_names_in_records_may_be_in_any_case(vantage):
    answered(vantage([reply("CNAME", "Example.ORG.")]), "eXample.org.", rdtype="CNAME")


def test_no_such_records_and_no_such_name(vantage):
    answered(vantage([reply("A")]))
    answered(vantage([reply("A", rcode="NXDOMAIN")]), rcode="NXDOMAIN")


TWO = ("10.96.0.1", "10.96.0.2")
EXPECTED = f"A {NAME}: NOERROR, exactly 10.96.0.1, 10.96.0.2"


@pytest.mark.parametrize(
    ("answer", "more", "expected", "got", "evidence"),
    [
        (reply("A", "10.96.0.1"), {}, EXPECTED, "NOERROR, 10.96.0.1", ("missing: 10.96.0.2",)),
        (
            reply("A", *TWO, "10.96.0.3"),
            {},
            EXPECTED,
            "NOERROR, 10.96.0.1, 10.96.0.2, 10.96.0.3",
            ("unexpected: 10.96.0.3",),
        ),
        (reply("A"), {}, EXPECTED, "NOERROR, none", ("missing: 10.96.0.1, 10.96.0.2",)),
        (reply("A", rcode="NXDOMAIN"), {}, EXPECTED, "NXDOMAIN, none", ("missing: 10.96.0.1, 10.96.0.2",)),
        (reply("A", *TWO, truncated=True), {}, EXPECTED, "NOERROR, truncated, 10.96.0.1, 10.96.0.2", ()),
        (
            reply("A", *TWO),
            {"truncated": True},
            f"A {NAME}: an answer with the TC bit (truncated)",
            "NOERROR, 10.96.0.1, 10.96.0.2",
            (),
        ),
        (
            reply("A", "10.96.0.9", truncated=True),
            {"truncated": True},
            f"A {NAME}: an answer with the TC bit (truncated)",
            "NOERROR, truncated, 10.96.0.9",
            ("missing: 10.96.0.1, 10.96.0.2", "unexpected: 10.96.0.9"),
        ),
        (SILENT, {}, EXPECTED, "3 timed out", ()),
        (Answer(REFUSED, detail="nobody is there"), {}, EXPECTED, "3 refused", ("nobody is there",)),
        (Answer(OK, detail="!"), {}, EXPECTED, "3 answered", ()),
        (Answer(SERVFAIL, detail=reply("A", *TWO).detail), {}, None, "3 SERVFAIL", None),
    ],
)
def test_a_wrong_answer(vantage, answer, more, expected, got, evidence):
    # what was not answered with success has no records, whatever it carries
    (failure,) = misses(lambda: answered(vantage([answer]), *TWO, **more))
    if expected is not None:
        assert (failure.expected, failure.evidence) == (expected, evidence)
        assert failure.got == got


def test_an_answer_where_there_must_be_none(vantage):
    (failure,) = misses(lambda: answered(vantage([reply("A", "10.96.0.1")])))
    assert failure.expected == f"A {NAME}: NOERROR, no records"
    (failure,) = misses(lambda: answered(vantage([reply("A")]), rcode="NXDOMAIN"))
    assert (failure.expected, failure.got) == (f"A {NAME}: NXDOMAIN, no records", "NOERROR, none")


def test_a_record_that_is_there_twice(vantage):
    (failure,) = misses(lambda: answered(vantage([twice("A", "10.96.0.1")]), "10.96.0.1"))
    assert failure.got == "NOERROR, 10.96.0.1, some of them duplicated"


def test_one_wrong_answer_of_many_fails(vantage):
    good, bad = reply("A", "10.96.0.1"), reply("A", "10.96.0.9")
    (failure,) = misses(lambda: answered(vantage([good, bad, good]), "10.96.0.1"))
    assert failure.got == "NOERROR, 10.96.0.9"


def test_each_server_is_asked(vantage):
    def script(series):
        return [reply("A", "10.96.0.1" if series.host == SERVER.host else "10.96.0.9")]

    other = replace(SERVER, host="10.0.0.53", note="dns-1")
    one = vantage(script)
    (failure,) = misses(lambda: to_get_records([one], Query("A", NAME), ["10.96.0.1"], by=[SERVER, other]))
    assert "dns-1" in failure.address


def test_a_server_that_has_yet_to_follow_is_waited_for(vantage, clock, forgotten):
    one = vantage([reply("A", rcode="NXDOMAIN")], [reply("A", "10.96.0.1")])
    answered(one, "10.96.0.1", settled=clock.now + 20)
    assert len(one.asked) > 1
    misses(lambda: answered(vantage([reply("A")]), "10.96.0.1", settled=clock.now + 1))
    ((_, question),) = forgotten
    assert (question.rdtype, question.name) == ("A", NAME)
    right = dns_message.read(reply("A", "10.96.0.1").detail, "A")
    assert question.right(right)
    assert not question.right(replace(right, rcode="NXDOMAIN"))
    assert not question.right(replace(right, records=frozenset()))


def test_the_diagnosis_can_ask_again(vantage, context):
    seen = []
    context.examine = seen.append
    misses(lambda: answered(vantage([reply("A")]), "10.96.0.1", transport="tcp"))
    (path,) = seen
    assert (path.series.count, path.series.more["transport"]) == (1, "tcp")
    assert path.judged(reply("A", "10.96.0.1"))
    assert not path.judged(reply("A"))


# --- the members of a headless Service


def members(vantage, *, count=2, wanted=None, port=80, **more):
    vantages = vantage if isinstance(vantage, list) else [vantage]
    return srv_targets(vantages, replace(SERVER, **more), NAME, port, count, wanted)


def srv(*records, **more):
    return reply("SRV", *[f"0 50 {record}" for record in records], **more)


def test_the_targets_of_a_service(vantage):
    one, two = vantage([srv("80 a.x.", "80 b.x.")]), vantage([srv("80 c.x.", "80 d.x.")], node="two")
    assert members([one, two]) == {"pod@one": {"a.x.", "b.x."}, "pod@two": {"c.x.", "d.x."}}
    (series,) = one.asked
    assert (series.kind, series.host, series.port, series.count) == ("dns", SERVER.host, 53, 1)
    assert series.more["transport"] == "tcp"
    message = dns.message.from_wire(base64.b64decode(series.more["message"]))
    assert message.question[0].rdtype == dns.rdatatype.SRV
    assert members(vantage([srv("80 a.x.", "80 b.x.")]), wanted=frozenset({"a.x.", "b.x."}))


@pytest.mark.parametrize(
    ("answer", "more", "got"),
    [
        (srv("80 a.x."), {}, "NOERROR, 80 a.x."),
        (srv("80 a.x.", "80 b.x.", "80 c.x."), {}, "NOERROR, 80 a.x., 80 b.x., 80 c.x."),
        (srv("80 a.x.", "81 b.x."), {}, "NOERROR, 80 a.x., 81 b.x."),
        (srv("80 a.x.", "80 b.x."), {"wanted": frozenset({"a.x.", "c.x."})}, "NOERROR, 80 a.x., 80 b.x."),
        (srv("80 a.x.", "80 b.x.", rcode="SERVFAIL"), {}, "SERVFAIL, 80 a.x., 80 b.x."),
        (twice("SRV", "0 50 80 a.x."), {"count": 1}, "NOERROR, 80 a.x."),
        (SILENT, {}, "timed out"),
        (Answer(OK, detail="!"), {}, "answered"),
        (Answer(NODATA, detail=srv("80 a.x.", "80 b.x.").detail), {}, "NODATA (no records)"),
    ],
)
def test_other_targets_fail(vantage, answer, more, got):
    (failure,) = misses(lambda: members(vantage([answer]), **more))
    known = more.get("wanted")
    which = f"the targets {', '.join(sorted(known))}" if known else f"{more.get('count', 2)} targets"
    assert failure.expected == f"SRV {NAME}: records with port 80 and {which}"
    assert failure.got == got


def test_members_that_have_yet_to_follow_are_waited_for(vantage, clock, forgotten):
    one = vantage([srv("80 a.x.")], [srv("80 a.x.", "80 b.x.")])
    assert members(one, settled=clock.now + 20)
    misses(lambda: members(vantage([srv("80 a.x.")]), settled=clock.now + 1))
    ((_, question),) = forgotten
    assert (question.rdtype, question.name) == ("SRV", NAME)
    assert question.right(SimpleNamespace(records={"80 a.x.", "80 b.x."}))
    assert not question.right(SimpleNamespace(records={"80 a.x."}))


def test_the_diagnosis_can_ask_for_members_again(vantage, context):
    seen = []
    context.examine = seen.append
    misses(lambda: members(vantage([srv("80 a.x.")])))
    (path,) = seen
    assert (path.series.count, path.series.more["transport"]) == (1, "tcp")
    assert path.judged(srv("80 a.x.", "80 b.x."))
    assert not path.judged(srv("80 a.x."))


# --- one address


def test_the_address_of_a_target(vantage):
    allowed = frozenset({"10.96.0.1", "10.96.0.2"})
    one = vantage([reply("A", "10.96.0.2")])
    assert one_address([one], SERVER, NAME, allowed) == "10.96.0.2"
    (series,) = one.asked
    assert (series.kind, series.host, series.port, series.count, series.more.keys()) == (
        "dns",
        SERVER.host,
        53,
        1,
        {"message"},
    )


def test_the_only_address_that_may_be(vantage):
    one = vantage([reply("A", "10.96.0.2")])
    assert one_address([one], SERVER, NAME, frozenset({"10.96.0.2"})) == "10.96.0.2"
    six = vantage([reply("AAAA", "fd00::1")])
    assert one_address([six], SERVER, NAME, frozenset({"fd00::1"})) == "fd00::1"
    assert dns.message.from_wire(base64.b64decode(six.asked[0].more["message"])).question[0].rdtype == 28
    (failure,) = misses(lambda: one_address([vantage([SILENT])], SERVER, NAME, frozenset({"fd00::1"})))
    assert failure.expected == f"AAAA {NAME}: one of fd00::1"


def test_the_address_is_the_first_vantages(vantage):
    both = [vantage([reply("A", "10.96.0.1")]), vantage([reply("A", "10.96.0.2")], node="two")]
    assert one_address(both, SERVER, NAME, frozenset({"10.96.0.1", "10.96.0.2"})) == "10.96.0.1"


def test_an_address_is_asked_of_no_cache(vantage, clock, forgotten):
    server = replace(SERVER, settled=clock.now + 1)
    misses(lambda: one_address([vantage([reply("A")])], server, NAME, frozenset({"10.96.0.1"})))
    assert not forgotten


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (reply("A", "10.96.0.1", "10.96.0.2"), "10.96.0.1, 10.96.0.2"),
        (reply("A", "10.96.0.9"), "10.96.0.9"),
        (reply("A"), "NODATA (no records)"),
        (SILENT, "timed out"),
        (Answer(NXDOMAIN, detail=reply("A", "10.96.0.1").detail), "NXDOMAIN"),
        (Answer(OK, detail="!"), "answered"),
        (Answer(OK, detail=reply("A").detail), "none"),
    ],
)
def test_another_address_fails(vantage, context, answer, got):
    seen = []
    context.examine = seen.append
    allowed = frozenset({"10.96.0.1", "10.96.0.2"})
    (failure,) = misses(lambda: one_address([vantage([answer])], SERVER, NAME, allowed))
    assert (failure.expected, failure.got) == (f"A {NAME}: one of 10.96.0.1, 10.96.0.2", got)
    assert seen[0].series.count == 1
    assert seen[0].judged(reply("A", "10.96.0.1"))
    assert not seen[0].judged(answer)


# --- names that are only told


def test_a_name_that_is_found_is_told(vantage, events, context):
    one = vantage([found("10.96.0.2"), found("10.96.0.1"), found("10.96.0.2")])
    to_find([one], NAME)
    assert texts(events) == [f"pod@one: {NAME} resolves to 10.96.0.1, 10.96.0.2"]
    (series,) = one.asked
    assert (series.kind, series.host, series.count) == ("resolve", NAME, context.settings.resolve_hold)
    assert series.more == {"family": 0}


@pytest.mark.parametrize("call", [lambda one: to_find([one], NAME), lambda one: reported(one)])
def test_what_was_found_is_not_looked_for_again_on_a_late_machine(vantage, context, call):
    context.lateness = Lateness()

    def script(series):
        result = replace(played(series, [reply("NS", "ns.x.")]), late=9.0)
        context.lateness.note("pod@one", result)
        return result

    one = vantage(script)
    call(one)
    assert len(one.asked) == 1


def test_a_name_that_is_not_always_found_fails(vantage, events):
    lacking = vantage([found("10.96.0.1"), UNKNOWN, found("10.96.0.1")])
    good = vantage([found("10.96.0.1")], node="two")
    (failure,) = misses(lambda: to_find([lacking, good], NAME))
    assert (failure.expected, failure.got) == ("an address", "2 answered, 1 NXDOMAIN")
    assert texts(events) == [f"pod@two: {NAME} resolves to 10.96.0.1"]


def reported(vantage, longest=0, servers=(SERVER,)):
    to_report_records([vantage], Query("NS", NAME), by=servers, longest=longest)


def test_records_are_told_with_how_long_they_may_be_kept(vantage, events, context):
    one = vantage([reply("NS", "ns.x.", ttl=5), reply("NS", "ns.x.", ttl=30), reply("NS", "ns.x.", ttl=7)])
    reported(one, longest=30)
    assert texts(events) == [f"NS {NAME}: ns.x., TTL 30 s"]
    (series,) = one.asked
    assert (series.kind, series.host, series.port) == ("dns", SERVER.host, 53)
    assert (series.count, series.timeout) == (context.settings.resolve_hold, context.settings.dns_timeout)
    message = dns.message.from_wire(base64.b64decode(series.more["message"]))
    assert message.question[0].rdtype == dns.rdatatype.NS
    (failure,) = misses(lambda: reported(vantage([reply("NS", "ns.x.", ttl=31)]), longest=30))
    assert (failure.expected, failure.got) == (f"NS {NAME}: a TTL of at most 30 s", "TTL 31 s")
    reported(vantage([reply("NS", "ns.x.", ttl=86400)]))


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (reply("NS"), "2 answered, 1 NODATA (no records)"),
        (SILENT, "2 answered, 1 timed out"),
        (Answer(OK, detail="!"), "3 answered"),
        (Answer(OK, detail=reply("NS").detail), "3 answered"),
        (Answer(NODATA, detail=reply("NS", "ns.x.").detail), "2 answered, 1 NODATA (no records)"),
    ],
)
def test_a_report_of_nothing_fails(vantage, events, answer, got):
    good = reply("NS", "ns.x.", ttl=99)
    (failure,) = misses(lambda: reported(vantage([good, answer, good]), longest=30))
    assert (failure.expected, failure.got) == (f"NS {NAME}: records", got)
    assert not texts(events)


def test_a_server_that_has_yet_to_have_records_is_waited_for(vantage, clock):
    one = vantage([reply("NS")], [reply("NS", "ns.x.")])
    reported(one, servers=[replace(SERVER, settled=clock.now + 20)])
    assert len(one.asked) == 3


def test_each_servers_records_are_told_once(vantage, events):
    def script(series):
        return [reply("NS", "b.x." if series.host == SERVER.host else "a.x.")]

    other = replace(SERVER, host="10.0.0.53")
    reported(vantage(script), servers=(SERVER, other, replace(SERVER, note="again")))
    assert texts(events) == [f"NS {NAME}: {ns}, TTL 5 s" for ns in ("a.x.", "b.x.")]


def test_the_diagnosis_can_ask_for_records_again(vantage, context):
    seen = []
    context.examine = seen.append
    misses(lambda: reported(vantage([reply("NS", "ns.x.", ttl=31)]), longest=30))
    misses(lambda: reported(vantage([reply("NS")])))
    kept, lacking = seen
    assert (kept.series.count, kept.series.kind, kept.series.more.keys()) == (1, "dns", {"message"})
    assert kept.judged(reply("NS", "ns.x.", ttl=30))
    assert not kept.judged(reply("NS", "ns.x.", ttl=31))
    assert not kept.judged(reply("NS"))
    assert lacking.judged(reply("NS", "ns.x.", ttl=31))


def test_where_something_is_broken_servers_are_waited_for_half_as_long(vantage, context):
    context.troubled["pod@one"] = 0.0
    half = context.settings.dns_timeout / 2
    one, two, three = (
        vantage([reply("A", "10.96.0.1")]),
        vantage([reply("NS", "ns.x.")]),
        vantage([found("x")]),
    )
    answered(one, "10.96.0.1")
    reported(two)
    to_find([three], NAME)
    assert (one.asked[0].timeout, two.asked[0].timeout) == (half, half)
    assert three.asked[0].timeout == pytest.approx(1.5 * half)


def test_a_change_is_named(vantage, clock, events):
    clock.now += 1
    resolved(vantage([found("10.96.0.1")]), "10.96.0.1", settled=ConvergenceDeadline.after(CHANGED, 9))
    assert probed(events)[0].change == CHANGED
