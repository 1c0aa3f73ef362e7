"""DNS as checks ask for it: what an expectation has without being told, which miss an answer is, and SRV targets."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from staged import Staged

from kubereach.expect import expect
from kubereach.expect.dns import Query, to_get_records, to_report_records
from kubereach.expect.hold import hold_length
from kubereach.expect.resolver import not_to_know, not_to_resolve, to_find, to_resolve
from kubereach.expect.srv import one_address, srv_targets, to_have_srv_targets
from kubereach.model.address import Address
from kubereach.model.errors import CannotMeasure, NotConforming
from kubereach.model.events import Note
from kubereach.model.finding import DNS
from kubereach.model.misses import LOST, RECORDS
from kubereach.model.outcome import LOCAL, NODATA, NXDOMAIN, OK, TIMEOUT, Answer

SERVER = Address("dns", "dns", "10.96.0.10", 53, 0.0, "kube-dns")
NAME, CONTROL = "web.shop.svc.cluster.local.", "kubernetes.default.svc.cluster.local."
SILENT, UNKNOWN = Answer(TIMEOUT), Answer(NXDOMAIN)


def reply(rdtype, *records, name=NAME, ttl=5):
    """A DNS server's answer, as a prober gives it."""
    message = dns.message.make_response(dns.message.make_query(name, rdtype, use_edns=False))
    if records:
        message.answer = [dns.rrset.from_text(name, ttl, "IN", rdtype, *records)]
    return Answer(OK if records else NODATA, detail=base64.b64encode(message.to_wire()).decode())


@pytest.fixture
def vantage(context, clock):
    def make(*answers, script=None, **more):
        made = Staged(context, clock, script or (lambda _: list(answers)), **more)
        made.read_file = lambda _: "nameserver 10.96.0.10\n"
        return made

    return make


def failures(call):
    with pytest.raises(NotConforming) as error:
        call()
    return error.value.failures


# --- without being told


def test_a_name_is_looked_up_in_the_family_of_its_addresses(vantage):
    four, six = vantage(Answer(OK, detail="10.96.0.1")), vantage(Answer(OK, detail="fd00::1"))
    to_resolve([four], NAME, ["10.96.0.1"])
    to_resolve([six], (NAME,), ["fd00::1"])
    assert (four.asked[0].more, six.asked[0].more) == ({"family": 4}, {"family": 6})
    assert (four.asked[0].host, six.asked[0].host) == (NAME, NAME)


def test_records_are_asked_for_as_often_as_a_resolver_is(vantage, context):
    one = vantage(reply("A", "10.96.0.1"))
    to_get_records([one], Query("A", NAME), ["10.96.0.1"], by=SERVER)
    assert one.asked[0].count == context.settings.resolve_hold < hold_length(context.settings)
    assert one.asked[0].more["transport"] == "udp"


def test_records_that_are_reported_may_be_kept_for_ever(vantage):
    to_report_records([vantage(reply("NS", "ns.x.", ttl=86400))], Query("NS", NAME), by=SERVER)


def test_names_that_nobody_knows(vantage):
    def script(series):
        return [Answer(OK, detail="10.96.0.1")] if series.host == CONTROL else [UNKNOWN]

    one = vantage(script=script)
    not_to_resolve([one], NAME, control=CONTROL)
    assert [series.host for series in one.asked] == [CONTROL, NAME, CONTROL]
    (failure,) = failures(lambda: not_to_resolve([vantage(SILENT)], NAME, control=""))
    assert failure.expected == "no such name (NXDOMAIN)"
    not_to_know([vantage(SILENT)], NAME)
    assert failures(lambda: not_to_know([vantage(Answer(OK, detail="10.96.0.9"))], NAME))


# --- which miss it is

WRONG = {
    "to_resolve": lambda who: to_resolve(who, NAME, ["10.96.0.1"]),
    "to_find": lambda who: to_find(who, NAME),
    "to_get_records": lambda who: to_get_records(who, Query("A", NAME), ["10.96.0.1"], by=SERVER),
    "srv_targets": lambda who: srv_targets(who, SERVER, NAME, 80, 1, None),
    "one_address": lambda who: one_address(who, SERVER, NAME, frozenset({"10.96.0.1"})),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_an_answer_that_is_wrong_is_another_miss_than_one_that_was_lost(vantage, call):
    assert [failure.miss for failure in failures(lambda: call([vantage(UNKNOWN)]))] == [RECORDS]
    assert [failure.miss for failure in failures(lambda: call([vantage(SILENT)]))] == [LOST]


def test_wrong_records_are_no_lost_answer(vantage):
    wrong = vantage(reply("A", "10.96.0.9"))
    assert failures(lambda: WRONG["to_get_records"]([wrong]))[0].miss == RECORDS
    found = vantage(Answer(OK, detail="10.96.0.9"))
    assert failures(lambda: WRONG["to_resolve"]([found]))[0].miss == RECORDS
    assert failures(lambda: not_to_resolve([found], NAME, control=""))[0].miss == RECORDS
    assert failures(lambda: not_to_resolve([vantage(SILENT)], NAME, control=""))[0].miss == LOST


def test_what_a_vantage_could_not_ask_is_neither_found_nor_lacking(vantage, events):
    broken = Answer(LOCAL, detail="no local port")
    with pytest.raises(CannotMeasure, match="no local port"):
        to_find([vantage(Answer(OK, detail="10.96.0.1"), broken)], NAME)
    with pytest.raises(CannotMeasure, match="no local port"):
        to_report_records([vantage(reply("NS", "ns.x."), broken)], Query("NS", NAME), by=SERVER)
    assert not [event for event in events if isinstance(event, Note)]


# --- SRV targets


def zone(**records):
    """What a server answers: records by the first label of a name, its dashes as underscores."""

    def script(series):
        question = dns.message.from_wire(base64.b64decode(series.more["message"])).question[0]
        rdtype = dns.rdatatype.to_text(question.rdtype)
        found = records.get(question.name.to_text().partition(".")[0].replace("-", "_"), ())
        return [reply(rdtype, *found, name=question.name.to_text())]

    return script


def service(**address_of):
    names = SimpleNamespace(srv=lambda: "srv.s.", pod=lambda hostname: f"{hostname}.s.")
    endpoints = SimpleNamespace(addresses=frozenset(address_of.values()), address_of=address_of)
    return SimpleNamespace(names=names, endpoints=endpoints, settled=0.0)


TARGETS = ("0 50 80 one.s.", "0 50 80 two.s.")
TWO = {"one": "10.0.0.1", "two": "10.0.0.2"}


def test_each_target_leads_to_a_pod_and_each_pod_has_one(vantage):
    one = vantage(script=zone(srv=TARGETS, one=["10.0.0.1"], two=["10.0.0.2"]))
    other = vantage(script=zone(srv=TARGETS, one=["10.0.0.1"], two=["10.0.0.2"]), node="two")
    to_have_srv_targets([one, other], service(**TWO), 80, by=[SERVER, Address("dns", "dns", "10.0.0.53", 53)])
    assert {series.host for series in one.asked} == {SERVER.host}
    assert len(one.asked) == len(other.asked) == 3
    # without hostnames a server calls targets as it likes
    swapped = vantage(script=zone(srv=TARGETS, one=["10.0.0.2"], two=["10.0.0.1"]))
    to_have_srv_targets([swapped], service(**TWO), 80, by=SERVER)


def test_two_targets_of_one_pod_leave_another_without(vantage):
    one = vantage(script=zone(srv=TARGETS, one=["10.0.0.1"], two=["10.0.0.1"]))
    other = vantage(script=zone(srv=TARGETS, one=["10.0.0.1"], two=["10.0.0.1"]), node="two")
    (failure,) = failures(lambda: to_have_srv_targets([one, other], service(**TWO), 80, by=SERVER))
    assert (failure.vantage, failure.address, failure.layer) == ("pod@one", "dns SRV srv.s.", DNS)
    assert (failure.expected, failure.got) == ("a target for each of 10.0.0.1, 10.0.0.2", "none for 10.0.0.2")
    assert failure.evidence == ("one.s. is 10.0.0.1", "two.s. is 10.0.0.1")


def test_targets_with_hostnames_are_just_those_and_lead_to_their_own_pods(vantage):
    hostnames = ["one.s.", "two.s."]

    def targets(**zone_of):
        one = vantage(script=zone(srv=TARGETS, **zone_of))
        to_have_srv_targets([one], service(**TWO), 80, by=SERVER, hostnames=hostnames)

    targets(one=["10.0.0.1"], two=["10.0.0.2"])
    (failure,) = failures(lambda: targets(one=["10.0.0.2"], two=["10.0.0.1"]))
    assert "one of 10.0.0." in failure.expected
    others = vantage(script=zone(srv=("0 50 80 a.s.", "0 50 80 b.s."), a=["10.0.0.1"], b=["10.0.0.2"]))
    (failure,) = failures(
        lambda: to_have_srv_targets([others], service(**TWO), 80, by=SERVER, hostnames=hostnames)
    )
    assert failure.expected == "SRV srv.s.: records with port 80 and the targets one.s., two.s."


def test_an_expectation_is_the_function_of_its_vantages(vantage):
    one = vantage(reply("A", "10.96.0.1"))
    expectation = expect(one)
    expectation.to_get_records(Query("A", NAME), ["10.96.0.1"], by=SERVER)
    assert (list(expectation), len(one.asked)) == ([one], 1)
