"""DNS queries in the forms that resolvers use: with EDNS, in mixed case, two at once from one port."""

from __future__ import annotations

import base64

import dns.message
import dns.rrset
import pytest
from staged import Staged

from kubereach.expect.dns import Query, to_get_records
from kubereach.expect.dns_pair import to_get_both
from kubereach.expect.hold import hold_length
from kubereach.model import dns_names
from kubereach.model.address import Address
from kubereach.model.errors import NotConforming
from kubereach.model.events import Note
from kubereach.model.misses import LOST, RECORDS
from kubereach.model.outcome import NODATA, OK, PROTOCOL, TIMEOUT, Answer
from kubereach.probe import dns_message
from kubereach.probe.peer.protocol import SECOND_LOST

SERVER = Address("dns", "dns", "10.96.0.10", 53, 0.0, "kube-dns")
NAME = "many.shop.svc.cluster.local."
ADDRESSES = tuple(f"192.0.2.{number}" for number in range(1, 61))
SILENT = Answer(TIMEOUT)


def encoded(message):
    return base64.b64encode(message.to_wire(max_size=65535)).decode()


def reply(*records, rdtype="A", name=NAME, rcode=0, truncated=False, edns=True, outcome=None):
    query = dns.message.make_query(name, rdtype, **({"use_edns": 0} if edns else {"use_edns": False}))
    message = dns.message.make_response(query)
    if records:
        message.answer = [dns.rrset.from_text(name, 5, "IN", rdtype, *records)]
    message.flags |= dns.flags.TC if truncated else 0
    message.set_rcode(rcode)
    return Answer(outcome or (OK if records else NODATA), detail=encoded(message))


@pytest.fixture
def vantage(context, clock):
    return lambda *answers: Staged(context, clock, lambda _: list(answers))


def failures(call):
    with pytest.raises(NotConforming) as error:
        call()
    return error.value.failures


def asked(one, payload, **more):
    to_get_records([one], Query("A", NAME, payload=payload, **more), ADDRESSES, by=SERVER, repeat=3)


# --- with EDNS


@pytest.mark.parametrize("payload", [1232, 4096])
def test_the_query_says_how_much_the_client_takes(vantage, payload):
    one = vantage(reply(*ADDRESSES))
    asked(one, payload)
    message = dns.message.from_wire(base64.b64decode(one.asked[0].more["message"]))
    assert (message.edns, message.payload, one.asked[0].count) == (0, payload, 3)
    assert dns_message.asked(one.asked[0].more["message"]) == dns_message.Asked(NAME, "A", payload)


def test_a_query_without_edns_says_nothing_of_it():
    assert dns_message.asked(dns_message.query(NAME, "AAAA")) == dns_message.Asked(NAME, "AAAA", 0)


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (reply(*ADDRESSES), ""),
        (reply(*ADDRESSES[:9], truncated=True), "truncates its answer to"),
        (reply(*ADDRESSES[:9], truncated=True, edns=False), "truncates its answer to"),
        (reply(rcode=1, edns=False, outcome=PROTOCOL), "knows no EDNS: it answers"),
        (reply(rcode=4, edns=False, outcome=PROTOCOL), "with NOTIMP"),
    ],
)
def test_what_a_server_may_answer_to_edns(vantage, events, answer, note):
    asked(vantage(answer), 1232)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert [note in text for text in notes] == ([True] if note else [])


@pytest.mark.parametrize(
    ("answer", "miss"),
    [
        (SILENT, LOST),
        (reply(*ADDRESSES[:9]), RECORDS),
        (reply("192.0.2.99", truncated=True), RECORDS),
        (reply(rcode=1, outcome=PROTOCOL), RECORDS),
        (reply(rcode=5, edns=False, outcome=PROTOCOL), RECORDS),
    ],
    ids=["silence", "a part", "a wrong one", "FORMERR with an OPT record", "REFUSED"],
)
def test_what_a_server_must_not_answer_to_edns(vantage, answer, miss):
    (failure,) = failures(lambda: asked(vantage(answer), 1232))
    assert failure.miss == miss
    assert failure.expected.startswith(f"A {NAME} (EDNS, 1232 bytes): NOERROR, exactly")


def test_one_lost_answer_is_enough(vantage):
    whole = reply(*ADDRESSES)
    assert failures(lambda: asked(vantage(whole, SILENT, whole), 4096))


def test_an_answer_is_not_larger_than_the_client_takes(vantage):
    whole = reply(*ADDRESSES, edns=False)
    (failure,) = failures(lambda: asked(vantage(whole), 600))
    assert failure.got.endswith("bytes, of which the client takes 600")
    large = reply(*ADDRESSES, truncated=True, edns=False)
    (failure,) = failures(lambda: asked(vantage(large), 0, truncated=True))
    assert failure.got.endswith("of which the client takes 512")
    asked(vantage(whole), 0, transport="tcp")


# --- in mixed case


def test_the_question_is_repeated_in_its_case(vantage):
    mixed = dns_names.mixed_case(NAME)
    assert (mixed.lower(), mixed == NAME) == (NAME, False)
    query = Query("A", mixed)
    to_get_records([vantage(reply("192.0.2.1", name=mixed))], query, ["192.0.2.1"], by=SERVER)
    one = vantage(reply("192.0.2.1"))
    (failure,) = failures(lambda: to_get_records([one], query, ["192.0.2.1"], by=SERVER))
    assert failure.got.endswith(f"for the name {NAME}")


# --- two at once


def both(a, aaaa):
    return Answer(OK, detail=f"{a.detail} {aaaa.detail}")


RIGHT = both(reply("192.0.2.1"), reply(rdtype="AAAA"))


def pairs(one):
    to_get_both([one], NAME, {"A": ["192.0.2.1"], "AAAA": []}, by=SERVER)


def test_two_questions_of_two_ids_are_asked_as_often_as_a_path_is_probed(vantage, context):
    one = vantage(RIGHT)
    pairs(one)
    (series,) = one.asked
    messages = [dns.message.from_wire(base64.b64decode(series.more[key])) for key in ("message", "beside")]
    assert messages[0].id != messages[1].id
    assert [dns_message.asked(series.more[key]).rdtype for key in ("message", "beside")] == ["A", "AAAA"]
    assert series.count == hold_length(context.settings)


def test_one_of_two_that_is_lost_fails(vantage):
    (failure,) = failures(lambda: pairs(vantage(RIGHT, Answer(TIMEOUT, detail=SECOND_LOST), RIGHT)))
    assert (failure.miss, failure.evidence) == (LOST, ("AAAA alone was not answered: once",))


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (both(reply("192.0.2.9"), reply(rdtype="AAAA")), "A: NOERROR, 192.0.2.9 (not 192.0.2.1)"),
        (both(reply("192.0.2.1"), reply(rdtype="AAAA", rcode=2)), "AAAA: SERVFAIL"),
        (Answer(OK, detail="! !"), "A: no DNS message"),
    ],
)
def test_one_of_two_that_is_wrong_fails(vantage, answer, got):
    (failure,) = failures(lambda: pairs(vantage(answer)))
    assert (failure.miss, failure.got) == (RECORDS, got)


# --- how it is told


def test_an_answer_of_just_the_size_is_taken(vantage):
    whole = reply(*ADDRESSES)
    size = len(base64.b64decode(whole.detail))
    asked(vantage(whole), size)
    (failure,) = failures(lambda: asked(vantage(whole), size - 1))
    assert failure.got.endswith(f"in {size} bytes, of which the client takes {size - 1}")


def test_a_query_over_tcp_is_told_as_such(vantage):
    assert str(Query("A", NAME)) == f"A {NAME}"
    (failure,) = failures(lambda: asked(vantage(SILENT), 0, transport="tcp"))
    assert failure.expected.startswith(f"A {NAME} over TCP: NOERROR")
