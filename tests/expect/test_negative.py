"""What counts as nobody's answer, with which probes, and what the control says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from backends import NONCE
from staged import ADDRESS, CONTROL, Staged, ok

from kubereach.expect.negative import ATTEMPTS, PROBES, SLOWER, SPACING, negative, refused_outcomes
from kubereach.kube.service_proxy import ServiceProxy
from kubereach.model.errors import CannotMeasure, NotConforming
from kubereach.model.events import Note, Probed
from kubereach.model.lateness import Lateness
from kubereach.model.misses import ANSWERED as TAKEN
from kubereach.model.misses import NO_REFUSAL
from kubereach.model.outcome import (
    DENIED,
    FOREIGN,
    NXDOMAIN,
    OK,
    REFUSED,
    RESET,
    TIMEOUT,
    UNANSWERED,
    UNREACHABLE,
    Answer,
    Probe,
    SeriesResult,
)

REFUSAL, SILENT, DENIAL = Answer(REFUSED), Answer(TIMEOUT), Answer(DENIED)
NO_ROUTE = Answer(UNREACHABLE, detail="No route to host")
BY_CALL = Answer(UNREACHABLE, detail="connect() gave EHOSTUNREACH: No route to host")
BOX = Answer(FOREIGN, detail="HTTP/1.1 404 Not Found")
UDP = replace(ADDRESS, kind="udp")
SILENCE = frozenset({TIMEOUT, UNREACHABLE})
SOCKETS = ServiceProxy("a replacement: Cilium (eBPF)", at_connect=True)


class Net:
    """What the addresses answer; those that are not named answer nothing."""

    def __init__(self, context, clock, **answers):
        self.context, self.clock, self.answers = context, clock, answers
        self.control = [ok()]

    def vantage(self, kind="pod", node="one"):
        return Staged(self.context, self.clock, self.script, kind, node)

    def script(self, series):
        if series.host == CONTROL.host:
            return self.control() if callable(self.control) else self.control
        name = "target" if series.host == ADDRESS.host else "x" + series.host.replace(".", "_")
        answers = self.answers.get(name, [SILENT])
        return answers(series) if callable(answers) else answers


@pytest.fixture
def net(context, clock):
    return lambda *target, **more: Net(context, clock, **({"target": list(target)} if target else {}), **more)


def asked_of(vantage, host=ADDRESS.host):
    return [series for series in vantage.asked if series.host == host]


def judge(vantage, conforming=None, address=ADDRESS, within=None, control=(CONTROL,)):
    vantages = vantage if isinstance(vantage, list) else [vantage]
    negative(vantages, [address], conforming, control, within)


def misses(*arguments, **more):
    with pytest.raises(NotConforming) as error:
        judge(*arguments, **more)
    return error.value.failures


# --- outcomes


def test_what_a_refusal_looks_like(net):
    pod, node = net().vantage(), net().vantage("node")
    assert refused_outcomes(pod, ADDRESS) == refused_outcomes(node, ADDRESS) == {REFUSED}
    assert refused_outcomes(pod, UDP) == {REFUSED}
    assert refused_outcomes(node, UDP) == {REFUSED, DENIED}


@pytest.mark.parametrize(
    ("conforming", "answer", "conforms"),
    [
        (None, REFUSAL, True),
        (None, SILENT, False),
        (None, NO_ROUTE, False),
        (None, DENIAL, False),
        (None, ok(), False),
        (SILENCE, SILENT, True),
        (SILENCE, NO_ROUTE, True),
        (SILENCE, REFUSAL, False),
        (SILENCE, DENIAL, False),
        (SILENCE, ok(), False),
        (UNANSWERED, REFUSAL, True),
        (UNANSWERED, SILENT, True),
        (UNANSWERED, NO_ROUTE, True),
        (UNANSWERED, DENIAL, True),
        (UNANSWERED, ok(), False),
        (UNANSWERED, Answer(RESET), False),
        (UNANSWERED, Answer(FOREIGN), False),
    ],
)
def test_what_conforms(net, events, conforming, answer, conforms):
    vantage = net(answer).vantage()
    if conforms:
        judge(vantage, conforming)
    else:
        assert len(misses(vantage, conforming)) == 1
    (probed,) = [event for event in events if isinstance(event, Probed)]
    assert probed.conforming is conforms


@pytest.mark.parametrize("conforming", [None, SILENCE, UNANSWERED])
def test_one_answer_among_many_probes_fails(net, conforming):
    good = REFUSAL if conforming is None else SILENT
    (failure,) = misses(net(good, ok("stranger"), good).vantage(), conforming)
    assert "1 answered" in failure.got
    assert failure.evidence == ("answered by pod stranger",)
    assert failure.miss == TAKEN


def test_a_failure_says_what_was_there_instead(net):
    (failure,) = misses(net(SILENT).vantage())
    assert (failure.expected, failure.got, failure.evidence, failure.miss) == (
        "refused",
        "2 timed out",
        (),
        NO_REFUSAL,
    )
    (failure,) = misses(net(Answer(RESET, detail="it hung up")).vantage(), SILENCE)
    assert (failure.expected, failure.evidence) == ("timeout or unreachable", ("it hung up",))
    assert failure.miss == TAKEN


@pytest.mark.parametrize("place", [0, 1])
def test_what_says_nothing_of_the_address_is_no_verdict(net, place):
    answers = [REFUSAL, REFUSAL]
    answers[place] = Answer(NXDOMAIN, detail="no such name")
    with pytest.raises(CannotMeasure, match=r"could not probe .*no such name"):
        judge(net(*answers).vantage())


def test_a_node_is_denied_udp_by_its_own_rules(net):
    judge(net(DENIAL).vantage("node"), address=UDP)
    assert misses(net(DENIAL).vantage("node"))
    assert misses(net(DENIAL).vantage(), address=UDP)


# --- refusals at the socket


def test_who_translates_at_the_socket_refuses_there(net, context, events):
    context.proxy_on = lambda node: SOCKETS if node == "one" else None
    judge(net(BY_CALL).vantage())
    (told,) = [event.text for event in events if isinstance(event, Note)]
    assert told == f"pod@one: connect() returns EHOSTUNREACH, which is how {SOCKETS} rejects connections"
    assert misses(net(BY_CALL).vantage(node="two"))
    assert misses(net(BY_CALL).vantage(), UNANSWERED - {UNREACHABLE})
    assert misses(net(NO_ROUTE).vantage())
    assert misses(net(BY_CALL, SILENT).vantage())


BY_CALL_DENIED = Answer(DENIED, detail="connect() gave EPERM: Operation not permitted")
BY_ROUTE = Answer(UNREACHABLE, detail="connect() gave ENETUNREACH: Network is unreachable")


@pytest.mark.parametrize(
    ("answers", "proxy", "refused"),
    [
        ([BY_CALL, REFUSAL], SOCKETS, True),
        ([REFUSAL, BY_CALL_DENIED], SOCKETS, True),
        ([BY_CALL, BY_CALL_DENIED], SOCKETS, True),
        ([BY_CALL], ServiceProxy("kube-proxy"), False),
        ([BY_CALL], None, False),
        ([BY_CALL, BY_ROUTE], SOCKETS, False),
        ([BY_ROUTE], SOCKETS, False),
        ([BY_CALL, ok()], SOCKETS, False),
    ],
)
def test_which_errors_of_connect_are_refusals(net, context, answers, proxy, refused):
    context.proxy_on = lambda _: proxy
    if refused:
        judge(net(*answers).vantage())
    else:
        misses(net(*answers).vantage())


def test_the_note_is_told_once_and_only_of_what_conforms(net, context, events):
    context.proxy_on = lambda _: SOCKETS
    both = net(BY_CALL)
    vantage = both.vantage()
    negative([vantage], [ADDRESS, replace(ADDRESS, port=81)], None, [CONTROL], None)
    assert len([event for event in events if isinstance(event, Note)]) == 1


# --- the probes


def test_refusals_are_asked_for_within_their_ration(net, context):
    vantage = net(REFUSAL).vantage()
    judge(vantage)
    (series,) = asked_of(vantage)
    assert (series.kind, series.host, series.port) == ("http", ADDRESS.host, ADDRESS.port)
    assert (series.count, series.in_flight, series.paced, series.delay) == (PROBES, PROBES, True, 1.5)
    assert (series.timeout, series.nonce, series.wanted) == (
        context.settings.connect_timeout,
        NONCE,
        (REFUSED,),
    )
    assert vantage.taken == [PROBES]
    assert (PROBES, ATTEMPTS) == (2, 4)
    datagrams = net(REFUSAL).vantage()
    judge(datagrams, address=UDP)
    assert asked_of(datagrams)[0].timeout == context.settings.udp_timeout


def test_on_a_node_nothing_limits_refusals(net):
    vantage = net(REFUSAL).vantage("node")
    judge(vantage)
    (series,) = asked_of(vantage)
    assert (series.delay, series.paced) == (0.0, True)
    assert vantage.taken == []


@pytest.mark.parametrize("conforming", [SILENCE, UNANSWERED])
def test_silence_is_several_attempts_soon_after_each_other(net, conforming):
    vantage = net(SILENT).vantage()
    judge(vantage, conforming)
    (series,) = asked_of(vantage)
    assert (series.kind, series.host, series.port) == ("http", ADDRESS.host, ADDRESS.port)
    assert (series.count, series.in_flight, series.spacing) == (ATTEMPTS, ATTEMPTS, SPACING)
    assert set(series.wanted) == conforming
    assert (series.nonce, series.paced, series.delay) == (NONCE, False, 0.0)
    assert vantage.taken == []
    assert SPACING == 0.05


@pytest.mark.parametrize(("latency", "timeout"), [(0.001, 0.4), (0.03, 0.6), (1.0, 2.0)])
def test_silence_is_awaited_for_many_times_as_long_as_the_control_took(net, context, latency, timeout):
    context.settings = replace(context.settings, silence=0.4, connect_timeout=2.0)
    here = net(SILENT)
    here.control = lambda: SeriesResult(tuple(Probe(ok(), seconds) for seconds in (0.0, latency, 0.0)), 0.1)
    vantage = here.vantage()
    judge(vantage, SILENCE)
    assert asked_of(vantage)[0].timeout == pytest.approx(timeout)
    assert SLOWER == 20


def test_too_few_probes_are_none(net):
    for conforming, least in ((None, PROBES), (SILENCE, ATTEMPTS)):
        answer = REFUSAL if conforming is None else SILENT
        here = net()
        here.answers["target"] = lambda _, one=answer: SeriesResult((Probe(one, 0.1),), 0.1)
        with pytest.raises(CannotMeasure, match=f"sent 1 of at least {least} probes"):
            judge(here.vantage(), conforming)
    here.answers["target"] = lambda _: SeriesResult((), 0.1)
    with pytest.raises(CannotMeasure, match="sent no probe to"):
        judge(here.vantage(), SILENCE)


# --- converging


def test_a_change_that_takes_its_time_is_waited_for(net, clock):
    begun = clock.now
    here = net()
    here.answers["target"] = lambda _: [REFUSAL if clock.now > begun + 3 else ok()]
    judge(here.vantage(), address=replace(ADDRESS, settled=begun + 20))
    here.answers["target"] = lambda _: [SILENT if clock.now > begun + 9 else ok()]
    judge(here.vantage(), SILENCE, within=20.0)
    here.answers["target"] = lambda _: [ok()]
    begun = clock.now
    misses(here.vantage(), SILENCE, within=1.0)
    assert 0.5 < clock.now - begun < 2


def test_what_conforms_has_converged(net, clock, context, events):
    context.proxy_on = lambda _: SOCKETS
    box = {"x192_0_2_213": [BOX]}
    for conforming, answer in ((None, REFUSAL), (None, BY_CALL), (SILENCE, SILENT), (UNANSWERED, BOX)):
        begun = clock.now
        judge(net(answer, **box).vantage(), conforming, replace(ADDRESS, settled=begun + 20))
        assert clock.now - begun < 5
    assert [event.converged for event in events if isinstance(event, Probed)] == [0.0] * 4


@pytest.mark.parametrize("conforming", [SILENCE, UNANSWERED])
def test_an_answer_or_a_middlebox_may_still_go(net, clock, conforming):
    """What does not conform yet is tried until it should."""
    for answer in (ok(), *([BOX] if conforming == SILENCE else [])):
        begun = clock.now
        here = net(x192_0_2_213=[BOX])
        here.answers["target"] = lambda _, since=begun, one=answer: [SILENT if clock.now > since + 3 else one]
        judge(here.vantage(), conforming, replace(ADDRESS, settled=begun + 20))


def test_refusals_that_others_have_used_up_are_waited_for_once_more(net):
    here = net()
    series = iter([[SILENT], [REFUSAL]])
    here.answers["target"] = lambda _: next(series)
    vantage = here.vantage()
    judge(vantage)
    assert len(asked_of(vantage)) == 2
    # that there are none is noted before they are asked for again
    assert vantage.taken == [PROBES, "empty", PROBES]


@pytest.mark.parametrize(
    ("kind", "answer", "conforming", "tries"),
    [
        ("pod", SILENT, None, 2),
        ("pod", ok(), None, 1),
        ("node", SILENT, None, 1),
        ("pod", REFUSAL, SILENCE, 1),
    ],
)
def test_only_a_client_whose_refusals_are_rationed_is_tried_again(net, kind, answer, conforming, tries):
    vantage = net(answer).vantage(kind)
    misses(vantage, conforming)
    assert len(asked_of(vantage)) == tries
    assert ("empty" in vantage.taken) is (tries == 2)


def test_once_more_is_once(net, context):
    context.settings = replace(context.settings, udp_timeout=0.1)
    vantage = net(SILENT).vantage()
    vantage.wait = 0.0
    misses(vantage, address=UDP)
    assert len(asked_of(vantage)) == 2


def test_a_silence_among_refusals_is_noted_and_tried_again(net):
    here = net(REFUSAL, SILENT)
    vantage = here.vantage()
    (failure,) = misses(vantage)
    assert len(asked_of(vantage)) == 2
    assert "1 refused" in failure.got


# --- the control


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_control_that_fails_leaves_no_verdict(net, when):
    here = net(SILENT)
    left = iter([[ok()]] * (when == "after") + [[REFUSAL]] * 9)
    here.control = lambda: next(left)
    vantage = here.vantage()
    with pytest.raises(CannotMeasure, match=f"the control just {when} failed: pod@one -> .*: 3 refused"):
        judge(vantage, SILENCE)
    assert bool(asked_of(vantage)) is (when == "after")


def test_a_control_that_fails_afterwards_hides_no_answer(net, events):
    """Silence proves nothing then; who answers where nobody must does."""
    here = net(ok())
    left = iter([[ok()], [REFUSAL]])
    here.control = lambda: next(left)
    (failure,) = misses(here.vantage(), SILENCE)
    assert failure.miss == TAKEN
    assert any("the control just after failed" in event.text for event in events if isinstance(event, Note))
    here = net(SILENT)
    left = iter([[ok()], [REFUSAL]])
    here.control = lambda: next(left)
    with pytest.raises(CannotMeasure, match="just after"):
        judge(here.vantage(), None)


def test_a_control_of_which_one_probe_is_lost_fails(net):
    here = net(SILENT)
    here.control = [ok(), SILENT, ok()]
    with pytest.raises(CannotMeasure, match="the control just before failed"):
        judge(here.vantage(), SILENCE)


def test_a_control_is_some_probes_from_each_vantage(net):
    here = net(SILENT)
    both = [here.vantage(), here.vantage(node="two")]
    judge(both, SILENCE)
    for vantage in both:
        controls = asked_of(vantage, CONTROL.host)
        assert [series.count for series in controls] == [3, 3]
        assert controls[0].retransmits


def test_without_a_control_nothing_is_proved(net):
    with pytest.raises(CannotMeasure, match="without a control"):
        judge(net(SILENT).vantage(), SILENCE, control=())


def test_a_control_without_a_probe_is_none(net):
    here = net(SILENT)
    here.control = lambda: SeriesResult((), 0.1)
    with pytest.raises(CannotMeasure, match="sent no probe to"):
        judge(here.vantage(), SILENCE)


# --- middleboxes


def test_a_middlebox_is_nobody_where_nobody_may_answer(net, events):
    here = net(BOX, x192_0_2_213=[BOX])
    judge(here.vantage(), UNANSWERED)
    (told,) = [event.text for event in events if isinstance(event, Note)]
    assert told.startswith("a middlebox answers for unassigned addresses, probed from pod@one")
    (probed,) = [event for event in events if isinstance(event, Probed)]
    assert probed.conforming


@pytest.mark.parametrize("conforming", [None, SILENCE])
def test_a_middlebox_hides_a_refusal_and_a_silence(net, events, conforming):
    here = net(BOX, x192_0_2_213=[BOX])
    both = [here.vantage(), here.vantage(node="two")]
    with pytest.raises(CannotMeasure, match=r"a middlebox answers.*pod@one -> .*404 Not Found; pod@two -> "):
        judge(both, conforming)
    assert not [event for event in events if isinstance(event, Probed)]


def test_what_a_middlebox_hides_elsewhere_excuses_no_failure(net):
    here = net(BOX, x192_0_2_213=[BOX], x10_96_0_2=[ok("stranger")])
    with pytest.raises(NotConforming) as error:
        negative([here.vantage()], [ADDRESS, replace(ADDRESS, host="10.96.0.2")], SILENCE, [CONTROL], None)
    assert len(error.value.failures) == 1


def test_an_answer_that_no_middlebox_gives_is_somebodys(net):
    here = net(BOX, x192_0_2_213=[SILENT])
    for conforming in (None, SILENCE, UNANSWERED):
        (failure,) = misses(here.vantage(), conforming)
        assert failure.evidence == ("HTTP/1.1 404 Not Found",)
    # nor is one of two
    here.answers["target"] = [BOX, ok("stranger")]
    here.answers["x192_0_2_213"] = [BOX]
    assert misses(here.vantage(), UNANSWERED)


def test_what_a_middlebox_leaves_open_is_as_before(net):
    here = net(SILENT, BOX, x192_0_2_213=[BOX])
    judge(here.vantage(), UNANSWERED)


# --- what addresses that nobody has are asked


def test_nobodys_addresses_are_asked_the_same(net, context):
    context.unallocated = lambda version: [f"10.96.255.{version}"]
    here = net(BOX, x192_0_2_213=[SILENT], x10_96_255_4=[BOX])
    vantage = here.vantage()
    judge(vantage, UNANSWERED)
    for host in ("192.0.2.213", "10.96.255.4"):
        (series,) = asked_of(vantage, host)
        (own,) = asked_of(vantage)
        assert series == replace(own, host=host, count=4)
        assert (series.count, series.delay, series.paced) == (4, 0.0, False)
    for_refusals = net(BOX, x192_0_2_213=[BOX]).vantage()
    with pytest.raises(CannotMeasure):
        judge(for_refusals)
    (series,) = asked_of(for_refusals, "192.0.2.213")
    assert (series.count, series.delay, series.paced) == (4, 0.0, False)


def test_nobodys_addresses_are_of_the_same_ip_version(net):
    six = replace(ADDRESS, host="fd00::9", family=6)
    here = net()
    here.answers["xfd00::9"] = here.answers["x2001:db8:ffff::213"] = [BOX]
    judge(here.vantage(), UNANSWERED, six)


def test_they_are_asked_only_where_somebody_answers(net):
    vantage = net(SILENT).vantage()
    judge(vantage, UNANSWERED)
    assert asked_of(vantage, "192.0.2.213") == []


def test_they_are_asked_once_for_each_port_and_protocol_and_vantage(net):
    here = net(BOX, x192_0_2_213=[BOX])
    both = [here.vantage(), here.vantage(node="two")]
    addresses = [ADDRESS, replace(ADDRESS, way="nodeport"), replace(ADDRESS, port=81), UDP]
    negative(both, addresses, UNANSWERED, [CONTROL], None)
    for vantage in both:
        asked = [(series.kind, series.port) for series in asked_of(vantage, "192.0.2.213")]
        assert sorted(asked) == [("http", 80), ("http", 81), ("udp", 80)]


@pytest.mark.parametrize(
    ("answer", "alike"),
    [
        (replace(BOX, detail="http/1.1 405 Not found"), True),
        (replace(BOX, detail="HTTP/1.1 404 Not Found, Server: x"), False),
        (Answer(RESET, detail=BOX.detail), False),
    ],
)
def test_what_is_alike(net, answer, alike):
    here = net(answer, x192_0_2_213=[BOX])
    if alike:
        judge(here.vantage(), UNANSWERED)
    else:
        assert misses(here.vantage(), UNANSWERED)


def test_identifiers_differ_from_one_answer_to_the_next(net):
    one, two = (replace(BOX, detail=f"404 request {name}") for name in ("deadbeef00", "0123456789abcdef"))
    judge(net(one, x192_0_2_213=[two]).vantage(), UNANSWERED)


@pytest.mark.parametrize("answer", [ok("a"), replace(BOX, pod="a"), Answer(OK)])
def test_a_peer_is_no_middlebox(net, answer):
    assert misses(net(answer, x192_0_2_213=[answer]).vantage(), UNANSWERED)
    assert misses(net(BOX, BOX, answer, x192_0_2_213=[BOX, answer]).vantage(), UNANSWERED)


def test_each_answer_has_to_be_a_middleboxs(net, events):
    other = replace(BOX, detail="HTTP/1.1 200 OK, Server: real")
    for answers in ((BOX, other), (other, BOX)):
        assert misses(net(*answers, x192_0_2_213=[BOX]).vantage(), UNANSWERED)
    judge(net(BOX, other, x192_0_2_213=[BOX, SILENT, other]).vantage(), UNANSWERED)
    assert next(event.text for event in events if isinstance(event, Note)).endswith(BOX.detail)


def test_a_path_by_name_has_no_middlebox(net):
    named = replace(ADDRESS, host="web.shop")
    here = net(x192_0_2_213=[BOX])
    here.answers["xweb_shop"] = [BOX]
    vantage = here.vantage()
    assert misses(vantage, UNANSWERED, named)
    assert asked_of(vantage, "192.0.2.213") == []


def test_a_middlebox_is_told_once_for_each_vantage(net, events):
    quiet = Answer(RESET)
    here = net(quiet, x192_0_2_213=[quiet])
    both = [here.vantage(), here.vantage(node="two")]
    for _ in range(2):
        judge(both, UNANSWERED)
    told = [event.text for event in events if isinstance(event, Note)]
    assert [text.rpartition(" from ")[2] for text in told] == ["pod@one: reset", "pod@two: reset"]


# --- whether an answer had the time to come


@pytest.mark.parametrize(
    ("after", "late", "asked", "judged"),
    [
        (0.4, 0.4, [0.5], True),
        (0.5, 0.5, [0.5], True),
        (0.6, 0.0, [0.5, 2.0], True),
        (0.0, 0.6, [0.5, 2.0], True),
        (2.1, 0.0, [0.5, 2.0], False),
        (0.0, 2.1, [0.5, 2.0], False),
    ],
)
def test_silence_in_which_an_answer_might_still_come_proves_nothing(net, context, after, late, asked, judged):
    """It lasts half a second, since the control took no time before: more after it, or backends stand still."""
    context.settings = replace(context.settings, silence=0.5, connect_timeout=2.0)
    here, latencies = net(SILENT), iter([0.001, after, after])
    here.control = lambda: SeriesResult((Probe(ok(), next(latencies)),) * 3, 0.1)
    vantage = here.vantage()
    context.lateness = Lateness()
    here.answers["target"] = lambda series: (
        context.lateness.note(vantage.name, SeriesResult((), 0.0, backend_late=late))
        or [SILENT] * series.count
    )
    if judged:
        judge(vantage, SILENCE)
    else:
        with pytest.raises(
            CannotMeasure, match=r"no answer within 2.0 s, but answers of the control took up to"
        ):
            judge(vantage, SILENCE)
    assert [series.timeout for series in asked_of(vantage)] == asked


def test_an_answer_that_comes_after_a_short_silence_fails(net, context):
    context.settings = replace(context.settings, silence=0.5, connect_timeout=2.0)
    here, latencies = net(), iter([0.001, 0.6, 0.6])
    here.control = lambda: SeriesResult((Probe(ok(), next(latencies)),) * 3, 0.1)
    here.answers["target"] = lambda series: [ok() if series.timeout > 1 else SILENT]
    assert misses(here.vantage(), SILENCE)


@pytest.mark.parametrize(
    ("conforming", "answers", "outcome"),
    [
        (SILENCE, [ok(), SILENT], "answered by pod a"),
        (UNANSWERED, [REFUSAL], ""),
        (SILENCE, [BOX, SILENT], "a middlebox answers"),
    ],
    ids=["answered", "refused", "a middlebox's"],
)
def test_only_what_conforms_by_silence_is_asked_for_once_more(net, context, conforming, answers, outcome):
    context.settings = replace(context.settings, silence=0.5, connect_timeout=2.0)
    here, latencies = net(*answers, x192_0_2_213=[BOX]), iter([0.001, 0.6])
    here.control = lambda: SeriesResult((Probe(ok(), next(latencies)),) * 3, 0.1)
    vantage = here.vantage()
    if not outcome:
        judge(vantage, conforming)
    elif "pod" in outcome:
        (failure,) = misses(vantage, conforming)
        assert outcome in failure.evidence
    else:
        with pytest.raises(CannotMeasure, match=outcome):
            judge(vantage, conforming)
    assert len(asked_of(vantage)) == 1
