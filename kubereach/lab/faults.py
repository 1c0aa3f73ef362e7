"""The defects that a lab can have on demand, by name.

A fault is a few lines beside the behaviour that it breaks, and off unless it is named.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

#: which part of a cluster is broken
DNS, PROXY, NETWORK, WORKLOAD = "dns", "service-proxy", "pod-network", "workload"
BALANCER, POLICY, INGRESS, NODE, API = "load-balancer", "policy", "ingress", "node", "api"
LAYERS = (API, DNS, INGRESS, BALANCER, NODE, NETWORK, POLICY, PROXY, WORKLOAD)


@dataclass(frozen=True)
class Fault:
    """One defect."""

    #: what is wrong, in one line
    what: str
    #: one of `LAYERS`
    layer: str
    #: where a real cluster had it: issues, or the KEP that asks for what it lacks
    bug: str = ""
    #: the nodes that have it, by number, -1 for the last; empty: it is everywhere
    nodes: tuple[int, ...] = ()


#: by name, sorted
FAULTS: dict[str, Fault] = {
    "api.affinity-default-wrong": Fault("ClientIP affinity lasts one hour where nothing is said", API),
    "api.busy": Fault("one API request in twenty is refused with 429: try again in a second", API),
    "api.drops-watch": Fault("watches end after a second, without a word", API),
    "api.exec-forbidden": Fault("the API server forbids exec into pods", API),
    "api.fails-to-read": Fault("one API request in twenty that reads fails with 500", API),
    "api.forbidden": Fault("we may not create Services, and the API server says so when asked", API),
    "api.late-watch": Fault("watches of workloads tell nothing for their first two seconds", API),
    "api.limit-range": Fault("a limit range asks for more memory than our containers do", API),
    "api.newer": Fault("the API's objects have fields that no client knows, and null for lists", API),
    "api.node-ports-forced": Fault("LoadBalancer Services get node ports, wanted or not", API),
    "api.node-ports-not-freed": Fault("the node ports of a deleted Service stay taken", API),
    "api.node-ports-shared": Fault("ports of a Service with different protocols get one node port", API),
    "api.pod-security": Fault("PodSecurity forbids our pods", API),
    "api.quota": Fault("a quota forbids further pods", API),
    "api.slow": Fault("the API takes 0.3 s longer for every answer", API),
    "dns.caches": Fault("DNS keeps each answer, as CoreDNS with `cache` does, for 12 s", DNS),
    "dns.case-sensitive": Fault("names in capital letters are not found", DNS),
    "dns.cross-namespace-leak": Fault("a short name finds another namespace's Service", DNS),
    "dns.default-policy-empty": Fault("resolv.conf of pods with dnsPolicy Default is empty", NODE),
    "dns.down": Fault("cluster DNS answers nothing", DNS),
    "dns.drops-5-percent": Fault("cluster DNS loses one query over UDP in twenty", DNS),
    "dns.empty-ignored": Fault(
        "Services without ready endpoints have no records, as with CoreDNS' option `ignore empty_service`",
        DNS,
    ),
    "dns.headless-not-ready-included": Fault(
        "DNS lists endpoints that are not ready", DNS, "ovn-kubernetes #4806"
    ),
    "dns.headless-one-address": Fault("headless Services have one address in DNS", DNS),
    "dns.headless-vip": Fault(
        "headless Services have an address of the service range in DNS, which nobody serves", DNS
    ),
    "dns.kept-long": Fault("answers of DNS may be kept for a day", DNS),
    "dns.known-outside": Fault("the outside's name servers forward the cluster's names to it", DNS),
    "dns.manual-ignored": Fault("DNS ignores EndpointSlices of Services without a selector", DNS),
    "dns.no-cname": Fault("ExternalName Services have no records", DNS),
    "dns.no-pod-names": Fault("pods with a hostname have no names of their own", DNS),
    "dns.no-pod-records": Fault("names that spell a pod's address are not answered", DNS),
    "dns.no-ptr": Fault("there are no PTR records", DNS),
    "dns.no-schema-version": Fault("there is no dns-version record", DNS),
    "dns.no-srv": Fault("there are no SRV records", DNS),
    "dns.no-upstream": Fault("cluster DNS reaches no other name server", DNS),
    "dns.nxdomain-as-nodata": Fault(
        "names that do not exist are answered as if they had no such records", DNS
    ),
    "dns.one-replica-stale": Fault(
        "one of the DNS replicas goes on answering what has been changed or taken away, as one that has lost its watch",
        DNS,
    ),
    "dns.one-replica-wrong": Fault("one of the DNS replicas knows no Service", DNS),
    "dns.refuses-tcp": Fault("cluster DNS takes no queries over TCP", DNS),
    "dns.search-missing": Fault("resolv.conf has no search list", NODE),
    "dns.servfail-aaaa": Fault("questions for AAAA records are answered with SERVFAIL", DNS),
    "dns.stale": Fault(
        "DNS answers what it once answered for 60 s more", DNS, "kubernetes #127259, coredns #3432"
    ),
    "dns.wrong-address": Fault("Services have another address in DNS than the API says", DNS),
    "dualstack.first-family-only": Fault("the service proxy does not program the second IP family", PROXY),
    "dualstack.no-load-balancer": Fault(
        "the load balancer gives addresses of the first IP family alone", BALANCER
    ),
    "dualstack.no-node-port": Fault("node ports are open on addresses of the first IP family alone", PROXY),
    "dualstack.order-ignored": Fault("the API server puts IPv4 first, whatever ipFamilies says", API),
    "endpoints.empty": Fault("the EndpointSlice controller finds no pods", API),
    "endpoints.first-slice-only": Fault("the service proxy reads one of several EndpointSlices", PROXY),
    "endpoints.late-wrong-label": Fault(
        "a selector's value finds pods whose value it only begins with, a second after the Service was made",
        API,
    ),
    "endpoints.no-hostnames": Fault("EndpointSlices lack the pods' hostnames", API),
    "endpoints.not-ready-included": Fault("the EndpointSlice controller calls every endpoint ready", API),
    "endpoints.slow": Fault("the EndpointSlice controller is 8 s late", API),
    "endpoints.terminating-dropped": Fault("terminating pods leave EndpointSlices at once", API, "KEP-1669"),
    "endpoints.wrong-label": Fault("a selector's value finds pods whose value it only begins with", API),
    "lb.address-kept": Fault("a load-balancer address goes on answering when its Service is gone", BALANCER),
    "lb.class-ignored": Fault("Services of a foreign loadBalancerClass are served too", BALANCER),
    "lb.late-and-open": Fault(
        "load-balancer addresses are announced 3 s late, and source ranges let everybody in", PROXY
    ),
    "lb.no-node-port": Fault("LoadBalancer Services get no node ports", BALANCER),
    "lb.pending": Fault("no Service gets a load-balancer address", BALANCER),
    "lb.pool-empty": Fault("the load balancer has no address to give", BALANCER),
    "lb.requested-address-ignored": Fault(
        "whoever asks for a load-balancer address gets another one", BALANCER
    ),
    "lb.requested-address-refused": Fault("whoever asks for a load-balancer address gets none", BALANCER),
    "lb.udp-ignored": Fault("load-balancer addresses take TCP alone", PROXY),
    "lb.unannounced": Fault("load-balancer addresses are given, but lead nowhere", BALANCER),
    "lb.wrong-node": Fault(
        "under a Local policy an address leads to a node without endpoints", BALANCER, "kubernetes #114058"
    ),
    "net.loss-5-percent": Fault("one packet in twenty is lost on the way to a pod of another node", NETWORK),
    "net.middlebox": Fault(
        "a transparent proxy answers connections to addresses that nobody has, where nodes let them out",
        NETWORK,
    ),
    "net.mtu": Fault("packets over 1400 bytes are silently lost between nodes", NETWORK),
    "net.no-egress": Fault("pods reach nothing outside of the pod network", NETWORK),
    "net.node-pair-cut": Fault("the first node does not reach the pods of the last", NETWORK, nodes=(0, -1)),
    "net.one-way": Fault(
        "replies of the last node's pods to other nodes' pods are lost", NETWORK, nodes=(-1,)
    ),
    "net.service-range-routed": Fault("the outside has a route to cluster IPs", NETWORK),
    "net.snat": Fault("pods see nodes' addresses in place of other nodes' pods", NETWORK),
    "node.connection-limit": Fault(
        "nodes refuse more than 200 TCP connections of one client at a time", NODE
    ),
    "node.conntrack-forgets": Fault("nodes forget TCP connections that are idle for a second", NODE),
    "node.conntrack-small": Fault(
        "the last node tracks 200 TCP connections, closed ones too, and drops further ones", NODE, nodes=(-1,)
    ),
    "node.forwarding-off": Fault("the last node does not forward packets", NODE, nodes=(-1,)),
    "node.full": Fault("no node has CPU left for further pods", NODE),
    "proxy.affinity-forgotten": Fault(
        "a change of endpoints makes clients lose their affinity", PROXY, "kubernetes #71809"
    ),
    "proxy.affinity-ignored": Fault("session affinity is not programmed", PROXY, "cilium #35254"),
    "proxy.affinity-never-expires": Fault(
        "session affinity has no time-out", PROXY, "kubernetes #35677, kube-router #910"
    ),
    "proxy.affinity-not-switched": Fault(
        "a live Service's session affinity cannot be changed", PROXY, "kubernetes #89358"
    ),
    "proxy.affinity-per-node": Fault("all pods of a node count as one client", PROXY),
    "proxy.affinity-to-dead-endpoint": Fault(
        "clients stick to an endpoint that has gone", PROXY, "kubernetes #110302, #81587"
    ),
    "proxy.affinity-too-short": Fault(
        "session affinity lasts a quarter of its time-out", PROXY, "kubernetes #35677"
    ),
    "proxy.cluster-ip-kept": Fault("a Service that becomes ExternalName keeps its cluster IP", PROXY),
    "proxy.connections-cut": Fault(
        "a Service that loses its last endpoint has its open connections cut", PROXY
    ),
    "proxy.conntrack-not-flushed": Fault(
        "UDP flows stick to an endpoint that has gone", PROXY, "kubernetes #48370, #105657"
    ),
    "proxy.external-ips-ignored": Fault("spec.externalIPs are not served", PROXY),
    "proxy.external-local-ignored": Fault(
        "externalTrafficPolicy Local is taken for Cluster", PROXY, "calico #3585, cilium #11724"
    ),
    "proxy.first-endpoint-only": Fault("one endpoint of several is used", PROXY),
    "proxy.first-port-only": Fault("further ports of a Service are not programmed", PROXY),
    "proxy.health-check-always-ok": Fault(
        "health-check node ports answer 200 on nodes without endpoints", PROXY
    ),
    "proxy.internal-local-ignored": Fault(
        "internalTrafficPolicy Local is taken for Cluster", PROXY, "kubernetes #105470"
    ),
    "proxy.ip-mode-ignored": Fault(
        "load-balancer addresses of ipMode Proxy are captured in the cluster", PROXY
    ),
    "proxy.labels-ignored": Fault(
        "Services and EndpointSlices that labels say are for another proxy, or for none, are served", PROXY
    ),
    "proxy.localhost-on-one-node": Fault("one node serves node ports on 127.0.0.1", PROXY),
    "proxy.manual-ignored": Fault("EndpointSlices that no controller has written are not read", PROXY),
    "proxy.masquerade-all": Fault("pods' own addresses are lost at cluster IPs", PROXY),
    "proxy.no-hairpin": Fault(
        "a pod does not reach itself through its Service", PROXY, "kube-router #189, kubernetes #45790"
    ),
    "proxy.no-reject": Fault("no endpoints: packets are dropped, not refused", PROXY),
    "proxy.node-listeners": Fault(
        "in mode ipvs, programs that listen on nodes answer at cluster IPs", PROXY, "kubernetes #72236"
    ),
    "proxy.node-port-kept": Fault("a node port stays open when it is given up", PROXY),
    "proxy.node-port-local-only": Fault("node ports are open on nodes with endpoints only", PROXY),
    "proxy.node-port-on-cluster-ip": Fault("cluster IPs serve the numbers of node ports too", PROXY),
    "proxy.node-port-one-address": Fault("node ports are open on the first node only", PROXY),
    "proxy.not-ready-included": Fault("endpoints that are not ready are used", PROXY),
    "proxy.one-node-stuck": Fault(
        "one node's rules of a Service are not updated once something is taken away", PROXY, nodes=(-1,)
    ),
    "proxy.other-mode": Fault("the last node's service proxy has another mode", PROXY, nodes=(-1,)),
    "proxy.ports-kept": Fault("a port that is taken away from a Service is served on", PROXY),
    "proxy.protocol-mixed-up": Fault("UDP of a port number that TCP has too is not programmed", PROXY),
    "proxy.recreated-ignored": Fault("a Service that is deleted and created again is not programmed", PROXY),
    "proxy.same-port": Fault("cluster IPs lead every other port to the same port of an endpoint", PROXY),
    "proxy.sctp-ignored": Fault("ports of the protocol SCTP are not programmed", PROXY),
    "proxy.slow": Fault("changes of Services take 8 s to be programmed", PROXY),
    "proxy.source-ranges-ignored": Fault(
        "loadBalancerSourceRanges let everybody in", PROXY, "cilium #34903, kubernetes #109575"
    ),
    "proxy.stale-endpoint": Fault(
        "an endpoint that has gone stays in the rules", PROXY, "kubernetes #55667, #86280"
    ),
    "proxy.target-port-ignored": Fault("traffic goes to port instead of targetPort", PROXY),
    "proxy.twins-confused": Fault(
        "of two Services with one port and endpoints alike, deleting one takes the other along", PROXY
    ),
    "proxy.undeclared-ports": Fault("cluster IPs answer on every TCP port", PROXY),
    "proxy.unfair": Fault("the first endpoint gets more than half of all requests", PROXY),
    "proxy.unhealthy": Fault("the last node's service proxy says that it is not healthy", PROXY, nodes=(-1,)),
    "topology.hints-ignored": Fault("the service proxy ignores the hints of EndpointSlices", PROXY),
    "topology.no-fallback": Fault(
        "nodes and zones without endpoints of their own are not served by others", PROXY, "KEP-4444"
    ),
    "topology.no-hints": Fault("EndpointSlices say not for which node or zone their endpoints are", API),
    "workload.crash-loop": Fault("the program in every pod ends as soon as it has begun", WORKLOAD),
    "workload.image-missing": Fault("there is no image of the name that pods ask for", WORKLOAD),
    "workload.sidecar-injected": Fault(
        "every pod gets a container more, as a service mesh injects it", WORKLOAD
    ),
    "workload.wrong-label": Fault("selectors of NodePort Services match no pod", WORKLOAD),
    "workload.wrong-port": Fault(
        "target ports of NodePort Services are ones that nobody listens on", WORKLOAD
    ),
}


def check_faults(names: Iterable[str]) -> None:
    """Raise ValueError for a name that is no fault."""
    for name in names:
        if name not in FAULTS:
            near = difflib.get_close_matches(name, FAULTS, 3)
            hint = f"did you mean {', '.join(near)}? " if near else ""
            raise ValueError(f"there is no fault {name!r}; {hint}`kubereach lab faults` lists them")
