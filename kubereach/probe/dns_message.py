"""DNS messages: built and read here, carried by the prober as they are."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype


@dataclass(frozen=True)
class Reply:
    """An answer as checks compare it: `rcode` in words, `truncated`, and the records asked for as a set of texts.

    A and AAAA: the address. CNAME and PTR: the target with its final dot. SRV: ``port target``; priority and weight are
    the server's own choice. Other types: the record's text. Names are in lower case, as DNS compares them.
    """

    rcode: str
    truncated: bool
    records: frozenset[str]
    #: the same record more than once
    repeated: bool = False
    #: seconds that the records may be kept, the longest of them
    ttl: int = 0
    #: bytes of the whole message
    size: int = 0
    #: whether it has an OPT record: the server speaks EDNS (RFC 6891)
    edns: bool = False
    #: the name that it says it was asked for, in the case in which it says so; empty if it does not
    asked: str = ""


def query(name: str, rdtype: str, payload: int = 0) -> str:
    """A query as base64, with a random id.

    `payload` is how many bytes of UDP the client takes, which it tells by EDNS(0). With 0 it has no EDNS, so that more
    than 512 bytes do not fit.
    """
    more = {"use_edns": 0, "payload": payload} if payload else {"use_edns": False}
    message = dns.message.make_query(name, rdtype, **more)
    return base64.b64encode(message.to_wire()).decode()


def pair(name: str, one: str, other: str) -> tuple[str, str]:
    """Two queries of one name without EDNS, as base64, whose ids are not the same."""
    messages = [dns.message.make_query(name, rdtype, use_edns=False) for rdtype in (one, other)]
    messages[1].id = messages[0].id ^ 1
    first, second = (base64.b64encode(message.to_wire()).decode() for message in messages)
    return first, second


def question(message: str) -> str:
    """The name that a query of `query` asks for, with the final dot."""
    return str(dns.message.from_wire(base64.b64decode(message)).question[0].name)


@dataclass(frozen=True)
class Asked:
    """What a query of `query` asks for: `name` has its final dot, `payload` is 0 without EDNS."""

    name: str
    rdtype: str
    payload: int


def asked(message: str) -> Asked:
    """What the query, as base64, asks for."""
    found = dns.message.from_wire(base64.b64decode(message))
    rdtype = dns.rdatatype.to_text(found.question[0].rdtype)
    return Asked(str(found.question[0].name), rdtype, found.payload if found.edns >= 0 else 0)


def read(detail: str, rdtype: str) -> Reply | None:
    """The reply in a prober's answer; None when there is none or it is no DNS message."""
    try:
        wire = base64.b64decode(detail, validate=True)
        message = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, binascii.Error, ValueError):
        return None
    wanted = dns.rdatatype.from_text(rdtype)
    found = [_text(rdata, rdtype) for rrset in message.answer if rrset.rdtype == wanted for rdata in rrset]
    return Reply(
        dns.rcode.to_text(message.rcode()),
        bool(message.flags & dns.flags.TC),
        frozenset(found),
        len(found) != len(set(found)),
        max((rrset.ttl for rrset in message.answer if rrset.rdtype == wanted), default=0),
        len(wire),
        message.edns >= 0,
        str(message.question[0].name) if message.question else "",
    )


def kept(detail: str) -> int:
    """Seconds for which whoever has a reply may keep it: its shortest time to live, also if it says that there is none.

    `detail` is a prober's answer that `read` can read; 0 where nothing in it has a time to live.
    """
    message = dns.message.from_wire(base64.b64decode(detail), ignore_trailing=True)
    return min((rrset.ttl for rrset in [*message.answer, *message.authority]), default=0)


def _text(rdata: object, rdtype: str) -> str:
    if rdtype == "SRV":
        return f"{rdata.port} {rdata.target}".lower()  # type: ignore[attr-defined]
    return str(rdata).lower()
