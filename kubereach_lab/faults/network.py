"""Faults of nodes, of the network between them, and of load balancers."""

from __future__ import annotations

from kubereach_lab.faults.fault import BALANCER, NETWORK, NODE, PROXY, Fault, Group


class LoadBalancer(Group):
    """What load balancers get wrong."""

    prefix = "lb"

    address_kept = Fault("a load-balancer address still answers after its Service was deleted", BALANCER)
    class_ignored = Fault("the load balancer controller ignores loadBalancerClass", BALANCER)
    late_and_open = Fault(
        "load-balancer addresses are announced 3 s late, and loadBalancerSourceRanges are ignored", PROXY
    )
    no_node_port = Fault("LoadBalancer Services get no node ports", BALANCER)
    pending = Fault("no Service gets a load-balancer address", BALANCER)
    pool_empty = Fault("the address pool of the load balancer controller is empty", BALANCER)
    requested_address_ignored = Fault("a Service with spec.loadBalancerIP gets another address", BALANCER)
    requested_address_refused = Fault("a Service with spec.loadBalancerIP gets no address", BALANCER)
    udp_ignored = Fault("load-balancer addresses serve TCP only", PROXY)
    unannounced = Fault("load-balancer addresses are assigned but not announced", BALANCER)
    wrong_node = Fault(
        "with externalTrafficPolicy Local an address is announced by a node without endpoints",
        BALANCER,
        "kubernetes #114058",
    )


class Network(Group):
    """What becomes of packets."""

    prefix = "net"

    large_dns_answers_lost = Fault("UDP answers of DNS over 512 bytes are lost", NETWORK)
    large_dns_answers_lost_on_one_node = Fault(
        "UDP answers of DNS over 512 bytes to pods on the last node are lost", NETWORK, nodes=(-1,)
    )
    large_lost_on_one_node = Fault(
        "the last node does not forward packets over 1300 bytes, and sends no ICMP", NETWORK, nodes=(-1,)
    )
    loss_5_percent = Fault("one packet in twenty to a pod on another node is lost", NETWORK)
    middlebox = Fault(
        "a transparent proxy answers connections to unassigned addresses that leave the nodes",
        NETWORK,
    )
    mtu = Fault("packets over 1400 bytes between nodes are dropped without ICMP", NETWORK)
    mtu_of_pair = Fault(
        "the route from the first node to the last has an MTU of 1400 bytes, and ICMP that says so is filtered",
        NETWORK,
        nodes=(0, -1),
    )
    no_egress = Fault("pods cannot reach addresses outside the pod network", NETWORK)
    node_pair_cut = Fault("the first node cannot reach pods on the last node", NETWORK, nodes=(0, -1))
    one_way = Fault("replies of pods on the last node to pods on other nodes are lost", NETWORK, nodes=(-1,))
    second_fragments_lost = Fault(
        "the last node loses all fragments but the first of each datagram", NETWORK, nodes=(-1,)
    )
    service_range_routed = Fault("cluster IPs are routed from outside", NETWORK)
    snat = Fault("connections between pods on different nodes have a node IP as source (SNAT)", NETWORK)


class Node(Group):
    """What nodes do to packets and pods."""

    prefix = "node"

    closed_to_own_pods = Fault(
        "the last node drops TCP connections of its own pods to its address", NODE, nodes=(-1,)
    )
    connection_limit = Fault("nodes refuse more than 200 concurrent TCP connections of one client", NODE)
    conntrack_forgets = Fault("conntrack drops TCP connections that are idle for one second", NODE)
    conntrack_small = Fault(
        "the conntrack table of the last node has room for 200 TCP connections", NODE, nodes=(-1,)
    )
    dns_second_query_lost = Fault(
        "the last node drops the second of two DNS queries that leave one port of a pod within 5 ms",
        NODE,
        "kubernetes #56903",
        nodes=(-1,),
    )
    forwarding_off = Fault("the last node does not forward packets", NODE, nodes=(-1,))
    full = Fault("no node has CPU left for further pods", NODE)
    half_closed_cut = Fault(
        "the last node drops what a server still sends on a connection whose client has closed its side",
        NODE,
        nodes=(-1,),
    )
    marked_lost = Fault("the last node does not forward packets with the DSCP EF", NODE, nodes=(-1,))
