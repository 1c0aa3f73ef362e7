"""IP addresses as texts: of which version they are."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence


def is_address(host: str) -> bool:
    """Whether it is an IP address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def loopback(version: int) -> str:
    """The loopback address of an IP version (4 or 6)."""
    return "::1" if version == 6 else "127.0.0.1"


def first_of(addresses: Sequence[str], version: int) -> str:
    """The first of some IP addresses that is of an IP version (4 or 6), else the first; empty if there are none."""
    own = [address for address in addresses if (":" in address) == (version == 6)]
    return (own or list(addresses) or [""])[0]
