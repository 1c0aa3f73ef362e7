"""Which checks each of the lab's faults makes fail: these and no others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Caught:
    """The checks that do not pass, by verdict: `error`: the fault breaks their control; `noted`: info checks."""

    fail: frozenset[str]
    error: frozenset[str] = frozenset()
    unsupported: frozenset[str] = frozenset()
    noted: frozenset[str] = frozenset()

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdict of every check that does not pass."""
        return {
            **dict.fromkeys(self.fail, "fail"),
            **dict.fromkeys(self.error, "error"),
            **dict.fromkeys(self.unsupported, "unsupported"),
            **dict.fromkeys(self.noted, "noted"),
        }


def by(
    *fail: str,
    error: Collection[str] = (),
    unsupported: Collection[str] = (),
    noted: Collection[str] = (),
) -> Caught:
    return Caught(frozenset(fail), frozenset(error), frozenset(unsupported), frozenset(noted))


#: by name, sorted
FAULTS: dict[str, Caught] = {
    "dns.cross-namespace-leak": by("dns.no-leak"),
    "dns.nxdomain-as-nodata": by("dns.no-such-service"),
    "dns.search-missing": by(
        "dns.qualified", "dns.resolv-conf", "dns.short-name", error=["dns.no-leak"]
    ),
    "lb.pending": by(
        unsupported=[
            "loadbalancer.assigned",
            "loadbalancer.from-nodes",
            "loadbalancer.from-outside",
            "loadbalancer.from-pods",
            "loadbalancer.includes-node-port",
            "loadbalancer.released",
        ]
    ),
    "proxy.no-reject": by("clusterip.no-endpoints-refused"),
}  # fmt: skip
