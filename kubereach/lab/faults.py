"""The defects that a lab can have on demand, by name.

A fault is a few lines beside the behaviour that it breaks, and off unless it is named.
"""

from __future__ import annotations

from collections.abc import Iterable

#: name: what is wrong, in one line
FAULTS = {
    "api.affinity-default-wrong": "ClientIP affinity lasts one hour where nothing is said",
    "api.exec-forbidden": "the API server forbids exec into pods",
    "api.node-ports-forced": "LoadBalancer Services get node ports, wanted or not",
    "api.node-ports-shared": "ports of a Service with different protocols get one node port",
    "dns.cross-namespace-leak": "a short name finds another namespace's Service",
    "dns.headless-not-ready-included": "DNS lists endpoints that are not ready (ovn-kubernetes #4806)",
    "dns.manual-ignored": "DNS ignores EndpointSlices of Services without a selector",
    "dns.nxdomain-as-nodata": "names that do not exist are answered as if they had no such records",
    "dns.search-missing": "resolv.conf has no search list",
    "dns.stale": "DNS answers what it once answered for 60 s more (kubernetes #127259, coredns #3432)",
    "dualstack.first-family-only": "the service proxy does not program the second IP family",
    "dualstack.no-load-balancer": "the load balancer gives addresses of the first IP family alone",
    "dualstack.no-node-port": "node ports are open on addresses of the first IP family alone",
    "dualstack.order-ignored": "the API server puts IPv4 first, whatever ipFamilies says",
    "endpoints.empty": "the EndpointSlice controller finds no pods",
    "endpoints.first-slice-only": "the service proxy reads one of several EndpointSlices",
    "endpoints.no-hostnames": "EndpointSlices lack the pods' hostnames",
    "endpoints.not-ready-included": "the EndpointSlice controller calls every endpoint ready",
    "endpoints.slow": "the EndpointSlice controller is 8 s late",
    "endpoints.terminating-dropped": "terminating pods leave EndpointSlices at once (KEP-1669)",
    "endpoints.wrong-label": "a selector's value finds pods whose value it only begins with",
    "lb.address-kept": "a load-balancer address goes on answering when its Service is gone",
    "lb.class-ignored": "Services of a foreign loadBalancerClass are served too",
    "lb.no-node-port": "LoadBalancer Services get no node ports",
    "lb.pending": "no Service gets a load-balancer address",
    "lb.pool-empty": "the load balancer has no address to give",
    "lb.requested-address-ignored": "whoever asks for a load-balancer address gets another one",
    "lb.requested-address-refused": "whoever asks for a load-balancer address gets none",
    "lb.udp-ignored": "load-balancer addresses take TCP alone",
    "lb.unannounced": "load-balancer addresses are given, but lead nowhere",
    "lb.wrong-node": "under a Local policy an address leads to a node without endpoints (kubernetes #114058)",
    "net.mtu": "packets over 1400 bytes are silently lost between nodes",
    "net.service-range-routed": "the outside has a route to cluster IPs",
    "node.conntrack-forgets": "nodes forget TCP connections that are idle for a second",
    "node.connection-limit": "nodes refuse more than 200 TCP connections of one client at a time",
    "proxy.affinity-forgotten": "a change of endpoints makes clients lose their affinity (kubernetes #71809)",
    "proxy.affinity-ignored": "session affinity is not programmed (cilium #35254)",
    "proxy.affinity-never-expires": "session affinity has no time-out (kubernetes #35677, kube-router #910)",
    "proxy.affinity-not-switched": "a live Service's session affinity cannot be changed (kubernetes #89358)",
    "proxy.affinity-per-node": "all pods of a node count as one client",
    "proxy.affinity-to-dead-endpoint": "clients stick to an endpoint that has gone (kubernetes #110302, #81587)",
    "proxy.affinity-too-short": "session affinity lasts a quarter of its time-out (kubernetes #35677)",
    "proxy.cluster-ip-kept": "a Service that becomes ExternalName keeps its cluster IP",
    "proxy.connections-cut": "a Service that loses its last endpoint has its open connections cut",
    "proxy.conntrack-not-flushed": "UDP flows stick to an endpoint that has gone (kubernetes #48370, #105657)",
    "proxy.external-ips-ignored": "spec.externalIPs are not served",
    "proxy.external-local-ignored": "externalTrafficPolicy Local is taken for Cluster (calico #3585, cilium #11724)",
    "proxy.first-endpoint-only": "one endpoint of several is used",
    "proxy.first-port-only": "further ports of a Service are not programmed",
    "proxy.health-check-always-ok": "health-check node ports answer 200 on nodes without endpoints",
    "proxy.internal-local-ignored": "internalTrafficPolicy Local is taken for Cluster (kubernetes #105470)",
    "proxy.ip-mode-ignored": "load-balancer addresses of ipMode Proxy are captured in the cluster",
    "proxy.localhost-on-one-node": "one node serves node ports on 127.0.0.1",
    "proxy.labels-ignored": "Services that labels say are for another proxy, or for none, are served",
    "proxy.manual-ignored": "EndpointSlices that no controller has written are not read",
    "proxy.masquerade-all": "pods' own addresses are lost at cluster IPs",
    "proxy.no-hairpin": "a pod does not reach itself through its Service (kube-router #189, kubernetes #45790)",
    "proxy.no-masquerade": "traffic from outside is not masqueraded, so that replies go another way",
    "proxy.no-reject": "no endpoints: packets are dropped, not refused",
    "proxy.node-port-kept": "a node port stays open when it is given up",
    "proxy.node-port-local-only": "node ports are open on nodes with endpoints only",
    "proxy.node-port-on-cluster-ip": "cluster IPs serve the numbers of node ports too",
    "proxy.node-port-one-address": "node ports are open on the first node only",
    "proxy.not-ready-included": "endpoints that are not ready are used",
    "proxy.one-node-stuck": "one node's rules of a Service are not updated once something is taken away",
    "proxy.ports-kept": "a port that is taken away from a Service is served on",
    "proxy.protocol-mixed-up": "UDP of a port number that TCP has too is not programmed",
    "proxy.recreated-ignored": "a Service that is deleted and created again is not programmed",
    "proxy.slow": "changes of Services take up to 8 s to be programmed",
    "proxy.source-ranges-ignored": "loadBalancerSourceRanges let everybody in (cilium #34903, kubernetes #109575)",
    "proxy.stale-endpoint": "an endpoint that has gone stays in the rules (kubernetes #55667, #86280)",
    "proxy.target-port-ignored": "traffic goes to port instead of targetPort",
    "proxy.twins-confused": "of two Services with one port and endpoints alike, deleting one takes the other along",
    "proxy.undeclared-ports": "cluster IPs answer on every TCP port",
    "proxy.unfair": "the first endpoint gets more than half of all requests",
    "topology.hints-ignored": "the service proxy ignores the hints of EndpointSlices",
    "topology.no-fallback": "nodes and zones without endpoints of their own are not served by others (KEP-4444)",
    "topology.no-hints": "EndpointSlices say not for which node or zone their endpoints are",
}


def check_faults(names: Iterable[str]) -> None:
    """Raise ValueError for a name that is no fault."""
    for name in names:
        if name not in FAULTS:
            raise ValueError(f"there is no fault {name!r}; the lab can have: {', '.join(sorted(FAULTS))}")
