"""Faults of the service proxies."""

from __future__ import annotations

from kubereach_lab.faults.fault import API, BALANCER, PROXY, Fault, Group


class DualStack(Group):
    """What is wrong with the second IP family."""

    prefix = "dualstack"

    first_family_only = Fault("the service proxy does not program the second IP family", PROXY)
    no_load_balancer = Fault(
        "the load balancer controller assigns addresses of the primary IP family only", BALANCER
    )
    no_node_port = Fault("node ports are open on addresses of the primary IP family only", PROXY)
    order_ignored = Fault("the API server puts IPv4 first and ignores the order of ipFamilies", API)


class Proxy(Group):
    """What service proxies get wrong."""

    prefix = "proxy"

    affinity_forgotten = Fault(
        "clients lose their session affinity when the endpoints change", PROXY, "kubernetes #71809"
    )
    affinity_ignored = Fault("the service proxy ignores session affinity", PROXY, "cilium #35254")
    affinity_never_expires = Fault(
        "session affinity has no timeout", PROXY, "kubernetes #35677, kube-router #910"
    )
    affinity_not_switched = Fault(
        "changes of session affinity do not affect existing Services", PROXY, "kubernetes #89358"
    )
    affinity_per_node = Fault("session affinity treats all pods of a node as one client", PROXY)
    affinity_to_dead_endpoint = Fault(
        "session affinity keeps clients on a removed endpoint", PROXY, "kubernetes #110302, #81587"
    )
    affinity_too_short = Fault("session affinity lasts a quarter of its timeout", PROXY, "kubernetes #35677")
    cluster_ip_kept = Fault("a Service that becomes ExternalName keeps its cluster IP", PROXY)
    connections_cut = Fault("open connections are cut when a Service loses its last endpoint", PROXY)
    connections_cut_by_changes = Fault(
        "open connections to Services are cut whenever any Service or endpoint changes", PROXY
    )
    conntrack_not_flushed = Fault("UDP flows stay on a removed endpoint", PROXY, "kubernetes #48370, #105657")
    external_ips_ignored = Fault("the service proxy ignores spec.externalIPs", PROXY)
    external_local_ignored = Fault(
        "the service proxy treats externalTrafficPolicy Local as Cluster",
        PROXY,
        "calico #3585, cilium #11724",
    )
    first_endpoint_only = Fault("the service proxy uses one of several endpoints", PROXY)
    first_port_only = Fault("the service proxy programs only the first port of a Service", PROXY)
    health_check_always_ok = Fault("health-check node ports answer 200 on nodes without endpoints", PROXY)
    internal_local_ignored = Fault(
        "the service proxy treats internalTrafficPolicy Local as Cluster", PROXY, "kubernetes #105470"
    )
    ip_mode_ignored = Fault("the service proxy captures load-balancer addresses of ipMode Proxy", PROXY)
    labels_ignored = Fault("the service proxy ignores the labels service-proxy-name and headless", PROXY)
    localhost_on_one_node = Fault("one node serves node ports on 127.0.0.1", PROXY)
    manual_ignored = Fault("the service proxy ignores EndpointSlices that no controller manages", PROXY)
    masquerade_all = Fault("connections to cluster IPs lose the pod's source IP (masquerade)", PROXY)
    no_hairpin = Fault(
        "a pod cannot reach itself through its Service (hairpin)",
        PROXY,
        "kube-router #189, kubernetes #45790",
    )
    no_reject = Fault("connections to a Service without endpoints are dropped, not refused", PROXY)
    node_listeners = Fault(
        "in mode ipvs, processes that listen on nodes answer on cluster IPs", PROXY, "kubernetes #72236"
    )
    node_port_kept = Fault("a node port stays open after it was released", PROXY)
    node_port_local_only = Fault("node ports are open only on nodes with endpoints", PROXY)
    node_port_on_cluster_ip = Fault("cluster IPs answer on node port numbers", PROXY)
    node_port_one_address = Fault("node ports are open only on the first node", PROXY)
    not_ready_included = Fault("the service proxy uses endpoints that are not ready", PROXY)
    one_node_stuck = Fault(
        "one node does not update the rules of a Service after a removal", PROXY, nodes=(-1,)
    )
    other_mode = Fault("the last node's service proxy has another mode", PROXY, nodes=(-1,))
    ports_kept = Fault("a port that was removed from a Service is still served", PROXY)
    protocol_mixed_up = Fault("the service proxy ignores a UDP port with the number of a TCP port", PROXY)
    recreated_ignored = Fault("the service proxy ignores a Service that is deleted and created again", PROXY)
    same_port = Fault("cluster IPs forward undeclared ports to the same port of an endpoint", PROXY)
    sctp_ignored = Fault("the service proxy ignores SCTP ports", PROXY)
    slow = Fault("the service proxy programs changes of Services 8 s late", PROXY)
    source_ranges_ignored = Fault(
        "the service proxy ignores loadBalancerSourceRanges", PROXY, "cilium #34903, kubernetes #109575"
    )
    stale_endpoint = Fault("the service proxy keeps removed endpoints", PROXY, "kubernetes #55667, #86280")
    target_port_ignored = Fault("the service proxy forwards to port instead of targetPort", PROXY)
    twins_confused = Fault(
        "deleting one of two Services with the same port and endpoints breaks the other", PROXY
    )
    undeclared_ports = Fault("cluster IPs answer on every TCP port", PROXY)
    unfair = Fault("the first endpoint gets more than half of all requests", PROXY)
    unhealthy = Fault("the service proxy of the last node reports itself as unhealthy", PROXY, nodes=(-1,))
    upper_ports_lost = Fault(
        "the service proxy of the last node drops TCP connections from the upper half of source ports",
        PROXY,
        nodes=(-1,),
    )


class Topology(Group):
    """What becomes of traffic that should stay near."""

    prefix = "topology"

    hints_ignored = Fault("the service proxy ignores the hints of EndpointSlices", PROXY)
    no_fallback = Fault(
        "with trafficDistribution, clients without an endpoint in their node or zone get no answer",
        PROXY,
        "KEP-4444",
    )
    no_hints = Fault("EndpointSlices have no hints", API)
