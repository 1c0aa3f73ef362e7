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


def query(name: str, rdtype: str) -> str:
    """A query without EDNS (so that more than 512 bytes do not fit into UDP) as base64, with a random id."""
    message = dns.message.make_query(name, rdtype, use_edns=False)
    return base64.b64encode(message.to_wire()).decode()


def question(message: str) -> str:
    """The name that a query of `query` asks for, with the final dot."""
    return str(dns.message.from_wire(base64.b64decode(message)).question[0].name)


def read(detail: str, rdtype: str) -> Reply | None:
    """The reply in a prober's answer; None when there is none or it is no DNS message."""
    try:
        message = dns.message.from_wire(base64.b64decode(detail, validate=True), ignore_trailing=True)
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
