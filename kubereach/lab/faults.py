"""The defects that a lab can have on demand, by name.

A fault is a few lines beside the behaviour that it breaks, and off unless it is named.
"""

from __future__ import annotations

from collections.abc import Iterable

#: name: what is wrong, in one line
FAULTS = {
    "api.exec-forbidden": "the API server forbids exec into pods",
    "dns.cross-namespace-leak": "a short name finds another namespace's Service",
    "dns.headless-not-ready-included": "DNS lists endpoints that are not ready (ovn-kubernetes #4806)",
    "dns.manual-ignored": "DNS ignores EndpointSlices of Services without a selector",
    "dns.nxdomain-as-nodata": "names that do not exist are answered as if they had no such records",
    "dns.search-missing": "resolv.conf has no search list",
    "dns.stale": "DNS answers what it once answered for 60 s more (kubernetes #127259, coredns #3432)",
    "endpoints.empty": "the EndpointSlice controller finds no pods",
    "endpoints.first-slice-only": "the service proxy reads one of several EndpointSlices",
    "endpoints.no-hostnames": "EndpointSlices lack the pods' hostnames",
    "endpoints.not-ready-included": "the EndpointSlice controller calls every endpoint ready",
    "endpoints.slow": "the EndpointSlice controller is 8 s late",
    "endpoints.terminating-dropped": "terminating pods leave EndpointSlices at once (KEP-1669)",
    "lb.pending": "no Service gets a load-balancer address",
    "net.mtu": "packets over 1400 bytes are silently lost between nodes",
    "node.connection-limit": "nodes refuse more than 200 TCP connections of one client at a time",
    "proxy.cluster-ip-kept": "a Service that becomes ExternalName keeps its cluster IP",
    "proxy.connections-cut": "a Service that loses its last endpoint has its open connections cut",
    "proxy.conntrack-not-flushed": "UDP flows stick to an endpoint that has gone (kubernetes #48370, #105657)",
    "proxy.first-endpoint-only": "one endpoint of several is used",
    "proxy.first-port-only": "further ports of a Service are not programmed",
    "proxy.idle-connections-cut": "every change of rules cuts connections that are idle",
    "proxy.no-hairpin": "a pod does not reach itself through its Service (kube-router #189, kubernetes #45790)",
    "proxy.no-reject": "no endpoints: packets are dropped, not refused",
    "proxy.not-ready-included": "endpoints that are not ready are used",
    "proxy.one-node-stuck": "one node's rules of a Service are not updated once something is taken away",
    "proxy.ports-kept": "a port that is taken away from a Service is served on",
    "proxy.protocol-mixed-up": "UDP of a port number that TCP has too is not programmed",
    "proxy.recreated-ignored": "a Service that is deleted and created again is not programmed",
    "proxy.slow": "changes of Services take up to 8 s to be programmed",
    "proxy.stale-endpoint": "an endpoint that has gone stays in the rules (kubernetes #55667, #86280)",
    "proxy.target-port-ignored": "traffic goes to port instead of targetPort",
    "proxy.unfair": "the first endpoint gets more than half of all requests",
}


def check_faults(names: Iterable[str]) -> None:
    """Raise ValueError for a name that is no fault."""
    for name in names:
        if name not in FAULTS:
            raise ValueError(f"there is no fault {name!r}; the lab can have: {', '.join(sorted(FAULTS))}")
