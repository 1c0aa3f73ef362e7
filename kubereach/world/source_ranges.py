"""Clients as ranges of addresses, as loadBalancerSourceRanges take them."""

from __future__ import annotations

from collections.abc import Iterable

from kubereach.probe import Vantage

#: ranges that no client is in (RFC 5737, RFC 3849), and those that all are in
_NOBODY = ["192.0.2.0/24", "2001:db8:2::/64"]
EVERYBODY = ["0.0.0.0/0", "::/0"]


def ranges_of(vantages: Iterable[Vantage]) -> list[str]:
    """The ranges that have these vantages' addresses in them, and no others."""
    addresses = sorted({vantage.address for vantage in vantages})
    return [f"{a}/{128 if ':' in a else 32}" for a in addresses] or _NOBODY
