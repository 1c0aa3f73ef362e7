"""Faults of the service proxies."""

from __future__ import annotations

from kubereach_lab.faults.fault import API, BALANCER, PROXY, Fault, Group


class DualStack(Group):
    """What is wrong with the second IP family."""

    prefix = "dualstack"

    first_family_only = Fault("the service proxy does not program the second IP family", PROXY)
    no_load_balancer = Fault("the load balancer gives addresses of the first IP family alone", BALANCER)
    no_node_port = Fault("node ports are open on addresses of the first IP family alone", PROXY)
    order_ignored = Fault("the API server puts IPv4 first, whatever ipFamilies says", API)


class Proxy(Group):
    """What service proxies get wrong."""

    prefix = "proxy"

    affinity_forgotten = Fault(
        "a change of endpoints makes clients lose their affinity", PROXY, "kubernetes #71809"
    )
    affinity_ignored = Fault("session affinity is not programmed", PROXY, "cilium #35254")
    affinity_never_expires = Fault(
        "session affinity has no time-out", PROXY, "kubernetes #35677, kube-router #910"
    )
    affinity_not_switched = Fault(
        "a live Service's session affinity cannot be changed", PROXY, "kubernetes #89358"
    )
    affinity_per_node = Fault("all pods of a node count as one client", PROXY)
    affinity_to_dead_endpoint = Fault(
        "clients stick to an endpoint that has gone", PROXY, "kubernetes #110302, #81587"
    )
    affinity_too_short = Fault("session affinity lasts a quarter of its time-out", PROXY, "kubernetes #35677")
    cluster_ip_kept = Fault("a Service that becomes ExternalName keeps its cluster IP", PROXY)
    connections_cut = Fault("a Service that loses its last endpoint has its open connections cut", PROXY)
    conntrack_not_flushed = Fault(
        "UDP flows stick to an endpoint that has gone", PROXY, "kubernetes #48370, #105657"
    )
    external_ips_ignored = Fault("spec.externalIPs are not served", PROXY)
    external_local_ignored = Fault(
        "externalTrafficPolicy Local is taken for Cluster", PROXY, "calico #3585, cilium #11724"
    )
    first_endpoint_only = Fault("one endpoint of several is used", PROXY)
    first_port_only = Fault("further ports of a Service are not programmed", PROXY)
    health_check_always_ok = Fault("health-check node ports answer 200 on nodes without endpoints", PROXY)
    internal_local_ignored = Fault(
        "internalTrafficPolicy Local is taken for Cluster", PROXY, "kubernetes #105470"
    )
    ip_mode_ignored = Fault("load-balancer addresses of ipMode Proxy are captured in the cluster", PROXY)
    labels_ignored = Fault(
        "Services and EndpointSlices that labels say are for another proxy, or for none, are served", PROXY
    )
    localhost_on_one_node = Fault("one node serves node ports on 127.0.0.1", PROXY)
    manual_ignored = Fault("EndpointSlices that no controller has written are not read", PROXY)
    masquerade_all = Fault("pods' own addresses are lost at cluster IPs", PROXY)
    no_hairpin = Fault(
        "a pod does not reach itself through its Service", PROXY, "kube-router #189, kubernetes #45790"
    )
    no_reject = Fault("no endpoints: packets are dropped, not refused", PROXY)
    node_listeners = Fault(
        "in mode ipvs, programs that listen on nodes answer at cluster IPs", PROXY, "kubernetes #72236"
    )
    node_port_kept = Fault("a node port stays open when it is given up", PROXY)
    node_port_local_only = Fault("node ports are open on nodes with endpoints only", PROXY)
    node_port_on_cluster_ip = Fault("cluster IPs serve the numbers of node ports too", PROXY)
    node_port_one_address = Fault("node ports are open on the first node only", PROXY)
    not_ready_included = Fault("endpoints that are not ready are used", PROXY)
    one_node_stuck = Fault(
        "one node's rules of a Service are not updated once something is taken away", PROXY, nodes=(-1,)
    )
    other_mode = Fault("the last node's service proxy has another mode", PROXY, nodes=(-1,))
    ports_kept = Fault("a port that is taken away from a Service is served on", PROXY)
    protocol_mixed_up = Fault("UDP of a port number that TCP has too is not programmed", PROXY)
    recreated_ignored = Fault("a Service that is deleted and created again is not programmed", PROXY)
    same_port = Fault("cluster IPs lead every other port to the same port of an endpoint", PROXY)
    sctp_ignored = Fault("ports of the protocol SCTP are not programmed", PROXY)
    slow = Fault("changes of Services take 8 s to be programmed", PROXY)
    source_ranges_ignored = Fault(
        "loadBalancerSourceRanges let everybody in", PROXY, "cilium #34903, kubernetes #109575"
    )
    stale_endpoint = Fault("an endpoint that has gone stays in the rules", PROXY, "kubernetes #55667, #86280")
    target_port_ignored = Fault("traffic goes to port instead of targetPort", PROXY)
    twins_confused = Fault(
        "of two Services with one port and endpoints alike, deleting one takes the other along", PROXY
    )
    undeclared_ports = Fault("cluster IPs answer on every TCP port", PROXY)
    unfair = Fault("the first endpoint gets more than half of all requests", PROXY)
    unhealthy = Fault("the last node's service proxy says that it is not healthy", PROXY, nodes=(-1,))


class Topology(Group):
    """What becomes of traffic that should stay near."""

    prefix = "topology"

    hints_ignored = Fault("the service proxy ignores the hints of EndpointSlices", PROXY)
    no_fallback = Fault(
        "nodes and zones without endpoints of their own are not served by others", PROXY, "KEP-4444"
    )
    no_hints = Fault("EndpointSlices say not for which node or zone their endpoints are", API)
