"""Faults of nodes, of the network between them, and of load balancers."""

from __future__ import annotations

from kubereach_lab.faults.fault import BALANCER, NETWORK, NODE, PROXY, Fault, Group


class LoadBalancer(Group):
    """What load balancers get wrong."""

    prefix = "lb"

    address_kept = Fault("a load-balancer address goes on answering when its Service is gone", BALANCER)
    class_ignored = Fault("Services of a foreign loadBalancerClass are served too", BALANCER)
    late_and_open = Fault(
        "load-balancer addresses are announced 3 s late, and source ranges let everybody in", PROXY
    )
    no_node_port = Fault("LoadBalancer Services get no node ports", BALANCER)
    pending = Fault("no Service gets a load-balancer address", BALANCER)
    pool_empty = Fault("the load balancer has no address to give", BALANCER)
    requested_address_ignored = Fault("whoever asks for a load-balancer address gets another one", BALANCER)
    requested_address_refused = Fault("whoever asks for a load-balancer address gets none", BALANCER)
    udp_ignored = Fault("load-balancer addresses take TCP alone", PROXY)
    unannounced = Fault("load-balancer addresses are given, but lead nowhere", BALANCER)
    wrong_node = Fault(
        "under a Local policy an address leads to a node without endpoints", BALANCER, "kubernetes #114058"
    )


class Network(Group):
    """What becomes of packets."""

    prefix = "net"

    loss_5_percent = Fault("one packet in twenty is lost on the way to a pod of another node", NETWORK)
    middlebox = Fault(
        "a transparent proxy answers connections to addresses that nobody has, where nodes let them out",
        NETWORK,
    )
    mtu = Fault("packets over 1400 bytes are silently lost between nodes", NETWORK)
    no_egress = Fault("pods reach nothing outside of the pod network", NETWORK)
    node_pair_cut = Fault("the first node does not reach the pods of the last", NETWORK, nodes=(0, -1))
    one_way = Fault("replies of the last node's pods to other nodes' pods are lost", NETWORK, nodes=(-1,))
    service_range_routed = Fault("the outside has a route to cluster IPs", NETWORK)
    snat = Fault("pods see nodes' addresses in place of other nodes' pods", NETWORK)


class Node(Group):
    """What nodes do to packets and pods."""

    prefix = "node"

    connection_limit = Fault("nodes refuse more than 200 TCP connections of one client at a time", NODE)
    conntrack_forgets = Fault("nodes forget TCP connections that are idle for a second", NODE)
    conntrack_small = Fault(
        "the last node tracks 200 TCP connections, closed ones too, and drops further ones", NODE, nodes=(-1,)
    )
    forwarding_off = Fault("the last node does not forward packets", NODE, nodes=(-1,))
    full = Fault("no node has CPU left for further pods", NODE)
