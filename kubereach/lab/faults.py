"""The defects that a lab can have on demand, by name.

A fault is a few lines beside the behaviour that it breaks, and off unless it is named.
"""

from __future__ import annotations

from collections.abc import Iterable

#: name: what is wrong, in one line
FAULTS = {
    "api.exec-forbidden": "the API server forbids exec into pods",
    "dns.cross-namespace-leak": "a short name finds another namespace's Service",
    "dns.nxdomain-as-nodata": "names that do not exist are answered as if they had no such records",
    "dns.search-missing": "resolv.conf has no search list",
    "lb.pending": "no Service gets a load-balancer address",
    "proxy.no-reject": "no endpoints: packets are dropped, not refused",
}


def check_faults(names: Iterable[str]) -> None:
    """Raise ValueError for a name that is no fault."""
    for name in names:
        if name not in FAULTS:
            raise ValueError(f"there is no fault {name!r}; the lab can have: {', '.join(sorted(FAULTS))}")
