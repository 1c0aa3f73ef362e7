"""Which wrong answers may come out of a cache, and for how long they are waited for."""

from __future__ import annotations

import base64
from dataclasses import replace

import dns.message
import dns.rdatatype
import pytest
from staged import Staged
from test_dns_answers import NAME, SERVER, UNKNOWN, reply

from kubereach.expect.caching import Question, forgetting
from kubereach.model.convergence import CHANGED, ConvergenceDeadline
from kubereach.model.outcome import NODATA, NXDOMAIN, OK, TIMEOUT, Answer, Probe, SeriesResult
from kubereach.probe.path import Path

QUESTION = Question("A", lambda found: found.records == {"10.96.0.1"}, NAME)
SILENT = Answer(TIMEOUT)


def old(ttl):
    return reply("A", "10.96.0.9", ttl=ttl)


NEW = reply("A", "10.96.0.1", ttl=30)


@pytest.fixture
def path(context, clock):
    def make(*answers, settled=None, address=SERVER, node="one"):
        def script(series):
            answered = [answers[min(n, len(answers) - 1)] for n in range(series.count)] if answers else []
            return SeriesResult(tuple(Probe(answer, 0.01) for answer in answered), 2.4)

        vantage = Staged(context, clock, script, node=node)
        vantage.read_file = lambda _: "search x.\nnameserver 10.96.0.99\nnameserver 10.96.0.11\n"
        settled = ConvergenceDeadline.after(CHANGED, 1) if settled is None else settled
        return Path(vantage, replace(address, settled=settled))

    return make


def left(path, clock, question=QUESTION):
    """Seconds that a path is waited for, None if no cache is in its way."""
    found = forgetting([path], question)
    assert found in ([], [path])
    return path.address.settled - clock.now if found else None


def test_the_question(path, context):
    one = path(old(20), old(19))
    forgetting([one], QUESTION)
    (series,) = one.vantage.asked
    assert (series.kind, series.host, series.port) == ("dns", SERVER.host, 53)
    assert (series.count, series.in_flight, series.spacing) == (24, 1, 0.1)
    assert (series.timeout, series.wanted) == (context.settings.dns_timeout, (OK, NODATA, NXDOMAIN))
    assert series.more["transport"] == "udp"
    asked = dns.message.from_wire(base64.b64decode(series.more["message"])).question[0]
    assert (asked.name.to_text(), asked.rdtype) == (NAME, dns.rdatatype.A)


def test_a_resolvers_own_server_is_asked(path):
    own = replace(SERVER, kind="resolve", host="web.x.", port=0)
    for question, name in ((Question("AAAA", lambda _: False), "web.x."), (QUESTION, NAME)):
        one = path(old(20), address=own)
        forgetting([one], question)
        (series,) = one.vantage.asked
        assert (series.host, series.port) == ("10.96.0.99", 53)
        asked = dns.message.from_wire(base64.b64decode(series.more["message"])).question[0]
        assert asked.name.to_text() == name
    nobody = path(old(20), old(19), address=own)
    nobody.vantage.read_file = lambda _: "search x.\n"
    assert forgetting([nobody], QUESTION) == []
    assert nobody.vantage.asked == []


def test_an_answer_that_ages_is_a_caches(path, clock):
    assert left(path(old(20), old(19)), clock) == pytest.approx(21)
    assert left(path(old(20), old(18), old(19)), clock) == pytest.approx(21)


def test_an_answer_that_does_not_age_is_the_servers_own(path, clock):
    one = path(old(20))
    before = one.address.settled
    assert left(one, clock) is None
    assert one.address.settled == before
    assert left(path(old(3)), clock) is None


@pytest.mark.parametrize("ttl", [0, 1, 2])
def test_one_that_ends_before_it_is_seen_to_age_may_be_a_caches(path, clock, ttl):
    assert left(path(old(ttl)), clock) == pytest.approx(ttl + 1)


def test_it_is_not_waited_for_longer_than_for_a_change(path, clock, context):
    context.settings = replace(context.settings, converge_deadline=15.0)
    assert left(path(old(20), old(19)), clock) == pytest.approx(15.0)


def test_an_answer_that_is_right_by_now_is_tried_once_more(path, clock):
    assert left(path(NEW), clock) == pytest.approx(0.0)
    # right ones do not count among those that age
    assert left(path(NEW, old(20)), clock) is None
    assert left(path(SILENT, old(20)), clock) is None


def test_that_there_is_none_may_be_cached_too(path, clock):
    message = dns.message.make_response(dns.message.make_query(NAME, "A", use_edns=False))
    message.set_rcode(3)

    def unknown(ttl):
        message.authority = [dns.rrset.from_text("x.", ttl, "IN", "SOA", "ns.x. h.x. 1 7200 1800 86400 30")]
        return replace(UNKNOWN, detail=base64.b64encode(message.to_wire()).decode())

    assert left(path(unknown(9), unknown(8)), clock) == pytest.approx(10)


def test_silence_and_nonsense_are_no_caches(path, clock):
    assert left(path(SILENT), clock) is None
    assert left(path(), clock) is None
    assert left(path(Answer(OK, detail="!")), clock) == pytest.approx(0.0)


def test_what_has_no_change_of_its_own_is_not_waited_for(path, clock):
    one = path(old(20), old(19), settled=clock.now + 1)
    assert left(one, clock) is None
    assert one.vantage.asked == []


def test_each_path_has_its_own_server(path):
    aging, fixed = path(old(20), old(19)), path(old(20), node="two")
    assert forgetting([fixed, aging], QUESTION) == [aging]
    assert aging.address.settled.change == CHANGED
