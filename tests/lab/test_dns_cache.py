"""A lab's cluster DNS that keeps its answers, as CoreDNS with the plugin `cache` does."""

from __future__ import annotations

from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import pytest

from kubereach_lab.dns import server
from kubereach_lab.dns.server import DnsServer

NAME = "web.shop.svc.cluster.local."


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(server.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def started(clock: list[float]) -> Callable[..., DnsServer]:  # noqa: ARG001 (its server reads that clock)
    def start(*faults: str) -> DnsServer:
        made = DnsServer()
        made.apply({"zone": "cluster.local", "address": "10.96.0.10", "faults": list(faults)})
        made.apply({"namespaces": ["shop"]})
        return made

    return start


def serve(of: DnsServer, *addresses: str) -> None:
    records = [[NAME.rstrip("."), "A", address] for address in addresses]
    of.apply({"service": "shop/web", "records": records})


def ask(of: DnsServer, name: str = NAME, limit: int = 512) -> tuple[str, set[str], int]:
    """Response code, addresses, and the seconds that the answer may be kept."""
    wire = of.reply(dns.message.make_query(name, "A", use_edns=False).to_wire(), limit)
    assert wire is not None
    reply = dns.message.from_wire(wire)
    found = {str(record) for rrset in reply.answer for record in rrset}
    return dns.rcode.to_text(reply.rcode()), found, min(r.ttl for r in [*reply.answer, *reply.authority])


def test_answers_age_until_they_are_forgotten(started: Callable[..., DnsServer], clock: list[float]) -> None:
    kept = started("dns.caches")
    assert ask(kept) == ("NXDOMAIN", set(), 12)
    serve(kept, "10.96.3.7")
    clock[0] += 5
    assert ask(kept) == ("NXDOMAIN", set(), 7)
    clock[0] += 7
    assert ask(kept) == ("NOERROR", {"10.96.3.7"}, 12)
    serve(kept)
    clock[0] += 11.5
    assert ask(kept, NAME.upper()) == ("NOERROR", {"10.96.3.7"}, 1)
    clock[0] += 0.5
    assert ask(kept) == ("NXDOMAIN", set(), 12)


def test_what_is_truncated_ages_as_well(started: Callable[..., DnsServer], clock: list[float]) -> None:
    kept = started("dns.caches")
    serve(kept, *(f"10.96.3.{number}" for number in range(1, 60)))
    assert ask(kept)[2] == 12
    clock[0] += 3
    rcode, some, left = ask(kept)
    assert (rcode, left) == ("NOERROR", 9)
    assert 0 < len(some) < 59


def test_without_a_cache_changes_are_followed_at_once(
    started: Callable[..., DnsServer], clock: list[float]
) -> None:
    plain = started()
    assert ask(plain) == ("NXDOMAIN", set(), 30)
    clock[0] += 5
    assert ask(plain) == ("NXDOMAIN", set(), 30)
    serve(plain, "10.96.3.7")
    assert ask(plain) == ("NOERROR", {"10.96.3.7"}, 30)
