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
    #: of the run, beside the fault's name
    options: tuple[str, ...] = ()

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
    options: Collection[str] = (),
) -> Caught:
    return Caught(
        frozenset(fail), frozenset(error), frozenset(unsupported), frozenset(noted), tuple(options)
    )


#: by name, sorted
FAULTS: dict[str, Caught] = {
    "dns.cross-namespace-leak": by("dns.no-leak"),
    "dns.headless-not-ready-included": by("headless.not-ready"),
    "dns.manual-ignored": by("dns.tcp", "headless.manual-endpoints", "headless.many"),
    "dns.nxdomain-as-nodata": by("dns.no-such-service"),
    "dns.search-missing": by(
        "dns.qualified", "dns.resolv-conf", "dns.short-name", error=["dns.no-leak"]
    ),
    "dns.stale": by(
        "dns.follows", "externalname.changed", "headless.follows", "headless.manual-endpoints",
        "headless.srv", "headless.stateful-names",
    ),
    "endpoints.first-slice-only": by("endpoints.many-slices", "ports.named-target"),
    "endpoints.no-hostnames": by(
        "dns.ptr", "headless.hostname-subdomain", "headless.srv", "headless.stateful-names"
    ),
    "endpoints.wrong-label": by("endpoints.selector-mismatch"),
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
    "net.mtu": by("clusterip.large-transfer"),
    "node.connection-limit": by("clusterip.burst"),
    "proxy.cluster-ip-kept": by("lifecycle.type-changes"),
    "proxy.manual-ignored": by("endpoints.manual", "endpoints.many-slices"),
    "proxy.no-reject": by("clusterip.no-endpoints-refused"),
    "proxy.not-ready-included": by(
        "endpoints.live-connections", "endpoints.ready-only", "endpoints.rolling-update"
    ),
    "proxy.ports-kept": by("ports.changed", "ports.same-number-two-protocols"),
    "proxy.protocol-mixed-up": by("ports.same-number-two-protocols"),
    "proxy.recreated-ignored": by("lifecycle.recreated"),
    "proxy.stale-endpoint": by(
        "clusterip.allocated", "endpoints.manual", "endpoints.ready-only", "endpoints.replaced-pod",
        "endpoints.rolling-update", "endpoints.scale", "endpoints.udp-after-replacement",
        noted=["lifecycle.convergence"],
    ),
    "proxy.twins-confused": by("clusterip.two-services"),
    "proxy.unfair": by(noted=["clusterip.fair"]),
}  # fmt: skip
