"""Which checks each of the lab's faults makes fail: these and no others."""

from __future__ import annotations

from kubereach.selftest.row import Row, by, recovers, stops

#: checks that a lab has not what it takes for, with the reason; what `Row.options` bring is not among them
ABSENT = {
    "dns.external": "no --external-name is given",
    "dns.internal-only": "no name server answers the lab's outside",
    "dualstack.addresses": "the lab has one IP family",
    "dualstack.load-balancer": "the lab has one IP family",
    "dualstack.node-port": "the lab has one IP family",
    "dualstack.reach": "the lab has one IP family",
    "loadbalancer.annotations": "no --lb-provider is given",
    "ports.sctp": "kernels without SCTP cannot measure it",
}
#: what healthy labs are run with: as they are by default, and with everything that they can have
HEALTHY: dict[str, tuple[str, ...]] = {
    "healthy": (),
    "healthy, with everything": (
        "--dual-stack", "--lb-provider=metallb", "--external-name=public.example",
    ),
}  # fmt: skip

#: checks that need a Service with endpoints that answer: what they fail with, and those whose control that is
_BALANCED = (
    "affinity.endpoint-gone", "affinity.expires", "affinity.many-clients", "affinity.sticks",
    "affinity.survives-scale-up", "affinity.switched", "clusterip.all-endpoints",
    "clusterip.allocated", "clusterip.burst", "clusterip.cross-namespace", "clusterip.external-ips",
    "clusterip.from-node", "clusterip.from-pod", "clusterip.hairpin", "clusterip.idle-connection",
    "clusterip.internal-traffic-local", "clusterip.large-transfer", "clusterip.source-ip",
    "clusterip.two-services", "dns.short-name", "endpoints.host-network",
    "endpoints.live-connections", "endpoints.ready-only", "endpoints.replaced-pod",
    "endpoints.rolling-update", "endpoints.scale", "endpoints.selector-mismatch", "endpoints.terminating",
    "endpoints.udp-after-replacement", "externalname.to-service",
    "labels.service-proxy-name", "lifecycle.recreated", "lifecycle.type-changes",
    "loadbalancer.affinity", "loadbalancer.external-local", "loadbalancer.from-nodes",
    "loadbalancer.from-outside", "loadbalancer.from-pods", "loadbalancer.given-up",
    "loadbalancer.includes-node-port", "loadbalancer.ip-mode", "loadbalancer.no-node-ports", "loadbalancer.released",
    "loadbalancer.requested-address", "loadbalancer.source-ranges", "loadbalancer.source-ranges-outside",
    "loadbalancer.udp", "loadbalancer.udp-outside", "nodeport.closed-after", "nodeport.every-node",
    "nodeport.explicit", "nodeport.external-local", "nodeport.from-nodes", "nodeport.from-pods",
    "nodeport.includes-clusterip", "nodeport.source-ip-cluster", "nodes.half-closed",
    "nodes.marked-packets", "nodes.mesh", "ports.changed", "ports.multi",
    "ports.named-target", "ports.same-number-two-protocols", "ports.udp",
    "topology.prefer-same-node", "topology.prefer-same-zone",
)  # fmt: skip
_CONTROLLED = (
    "clusterip.internal-only", "clusterip.no-endpoints-refused", "clusterip.not-on-node-port",
    "clusterip.undeclared-port",
)  # fmt: skip
_MEASURED = ("clusterip.fair", "lifecycle.convergence", "nodeport.localhost", "signals.paths")
#: checks that need a NodePort Service that answers: what they fail with, and those whose control that is
_NODE_PORTED = (
    "affinity.sticks", "nodeport.closed-after", "nodeport.every-node", "nodeport.explicit",
    "nodeport.from-nodes", "nodeport.from-pods", "nodeport.includes-clusterip",
    "nodeport.source-ip-cluster", "nodes.mesh", "ports.udp",
)  # fmt: skip
_NODE_PORT_CONTROLLED = ("clusterip.internal-only", "clusterip.not-on-node-port")
_NODE_PORT_MEASURED = ("lifecycle.convergence", "nodeport.localhost", "signals.paths")
#: of runs in which changes take 8 s
_PATIENT = (
    "--set=settle_deadline=30", "--set=converge_deadline=30", "--set=troubled_deadline=30",
    "--set=load_balancer_deadline=30", "--set=convergence_budget=5",
)  # fmt: skip

#: by name, sorted
TABLE: dict[str, Row] = {
    "api.affinity-default-wrong": by("affinity.default-timeout"),
    "api.busy": recovers(),
    "api.drops-watch": recovers(),
    "api.exec-forbidden": stops("is forbidden"),
    "api.fails-to-read": recovers(),
    "api.forbidden": stops("missing permissions in the cluster: create services"),
    "api.late-watch": recovers(),
    "api.limit-range": stops("minimum memory usage"),
    "api.newer": recovers(),
    "api.node-ports-forced": by("loadbalancer.no-node-ports"),
    "api.node-ports-not-freed": by("nodeport.explicit"),
    "api.node-ports-shared": by("nodeport.allocated"),
    "api.pod-security": stops("violates PodSecurity"),
    "api.quota": stops("exceeded quota"),
    "api.slow": recovers(),
    "dns.caches": recovers(),
    "dns.case-sensitive": by(noted=["dns.case-and-ttl"]),
    "dns.cross-namespace-leak": by("dns.no-leak"),
    "dns.default-policy-empty": by("dns.resolv-conf"),
    "dns.down": by(
        "dns.every-replica", "dns.exact-address", "dns.follows", "dns.large-answers", "dns.no-leak",
        "dns.no-such-family", "dns.parallel-queries", "dns.ptr", "dns.qualified", "dns.short-name", "dns.srv",
        "dns.tcp", "externalname.changed", "externalname.cname", "externalname.to-service", "headless.all-pods",
        "headless.follows", "headless.hostname-subdomain", "headless.manual-endpoints", "headless.many",
        "headless.not-ready", "headless.srv", "headless.stateful-names", "lifecycle.recreated",
        "lifecycle.type-changes", "loadbalancer.includes-node-port", "nodeport.includes-clusterip",
        error=["dns.no-such-service"],
        noted=["dns.case-and-ttl", "dns.pod-record", "dns.schema-version"],
    ),
    "dns.drops-5-percent": by(
        "dns.every-replica", "dns.exact-address",
        full_length=True,
        overlooked="0.95^810 = 9e-19: dns.exact-address asks 6 times 135 questions over UDP, and none may be lost",
        perhaps=["dns.*", "externalname.*", "headless.*", "lifecycle.*", "*.includes-*"],
    ),
    "dns.empty-ignored": by("dns.no-leak"),
    "dns.headless-not-ready-included": by("headless.not-ready"),
    "dns.headless-one-address": by(
        "dns.large-answers", "dns.tcp", "headless.all-pods", "headless.follows", "headless.manual-endpoints",
        "headless.many", "headless.not-ready",
    ),
    "dns.headless-vip": by(
        "dns.large-answers", "dns.tcp", "headless.all-pods", "headless.follows", "headless.manual-endpoints",
        "headless.many", "headless.not-ready",
    ),
    "dns.kept-long": by(noted=["dns.case-and-ttl"]),
    "dns.known-outside": by(noted=["dns.internal-only"]),
    "dns.manual-ignored": by("dns.large-answers", "dns.tcp", "headless.manual-endpoints", "headless.many"),
    "dns.no-cname": by(
        "externalname.changed", "externalname.cname", "externalname.to-service", "lifecycle.type-changes"
    ),
    "dns.no-pod-names": by("headless.hostname-subdomain", "headless.srv", "headless.stateful-names"),
    "dns.no-pod-records": by(noted=["dns.pod-record"]),
    "dns.no-ptr": by("dns.ptr"),
    "dns.no-schema-version": by(noted=["dns.schema-version"]),
    "dns.no-srv": by("dns.follows", "dns.srv", "headless.srv"),
    "dns.no-upstream": by("dns.external", options=["--external-name=public.example"]),
    "dns.nxdomain-as-nodata": by("dns.follows", "dns.no-such-service"),
    "dns.one-replica-slow": by(
        "dns.every-replica", "dns.exact-address", "dns.large-answers", "dns.parallel-queries",
        overlooked="0.5^405 = 1e-122: dns.parallel-queries asks 3 times 14 pairs of questions or more",
        noted=["dns.case-and-ttl"],
        perhaps=["dns.*", "externalname.*", "headless.*", "lifecycle.*", "*.includes-*"],
    ),
    "dns.one-replica-stale": by(
        "dns.follows", "externalname.changed", "headless.follows", "headless.stateful-names",
        "lifecycle.recreated", "lifecycle.type-changes",
        # by what others did before: a pod's address that was somebody else's, a member that was replaced
        perhaps=["dns.ptr", "headless.*"],
    ),
    "dns.one-replica-wrong": by(
        "dns.every-replica", "dns.exact-address", "dns.large-answers", "dns.parallel-queries", "dns.ptr",
        "dns.qualified", "dns.short-name", "dns.srv", "headless.all-pods",
        overlooked="0.5^56 = 1e-17: dns.exact-address asks 4 times 14 questions or more, of either replica by chance",
        perhaps=["dns.*", "externalname.*", "headless.*", "lifecycle.*", "*.includes-*"],
    ),
    "dns.refuses-tcp": by(
        "dns.every-replica", "dns.tcp", "headless.many", "headless.srv", noted=["dns.case-and-ttl"]
    ),
    "dns.search-missing": by(
        "dns.qualified", "dns.resolv-conf", "dns.short-name", error=["dns.no-leak"]
    ),
    "dns.servfail-aaaa": by("dns.exact-address", "dns.no-such-family", "dns.parallel-queries"),
    "dns.stale": by(
        "dns.follows", "externalname.changed", "headless.follows", "headless.manual-endpoints",
        "headless.srv", "headless.stateful-names",
    ),
    "dns.tcp-lost": by(
        "dns.every-replica", "dns.tcp", "headless.many", "headless.srv", noted=["dns.case-and-ttl"]
    ),
    "dns.wrong-address": by(
        "dns.every-replica", "dns.exact-address", "dns.follows", "dns.no-leak", "dns.parallel-queries", "dns.ptr",
        "dns.qualified", "dns.short-name", "dns.tcp", "externalname.changed", "externalname.to-service",
        "lifecycle.recreated", "lifecycle.type-changes", "loadbalancer.includes-node-port",
        "nodeport.includes-clusterip", noted=["dns.case-and-ttl"],
    ),
    "dualstack.first-family-only": by(
        "dualstack.load-balancer", "dualstack.node-port", "dualstack.reach", options=["--dual-stack"]
    ),
    "dualstack.no-load-balancer": by("dualstack.load-balancer", options=["--dual-stack"]),
    "dualstack.no-node-port": by("dualstack.node-port", options=["--dual-stack"]),
    "dualstack.order-ignored": by("dualstack.addresses", options=["--dual-stack"]),
    "endpoints.empty": by(
        *_BALANCED, "dns.ptr", "headless.all-pods", "headless.follows", "headless.hostname-subdomain",
        "headless.not-ready", "headless.srv", "headless.stateful-names",
        "loadbalancer.health-check-node-port",
        error=[*_CONTROLLED, "labels.headless"], noted=_MEASURED,
    ),
    "endpoints.first-slice-only": by("endpoints.many-slices", "ports.named-target"),
    "endpoints.late-wrong-label": by("endpoints.selector-mismatch"),
    "endpoints.no-hostnames": by(
        "dns.ptr", "headless.hostname-subdomain", "headless.srv", "headless.stateful-names"
    ),
    "endpoints.not-ready-included": by(
        "endpoints.live-connections", "endpoints.ready-only", "endpoints.rolling-update",
        "headless.not-ready",
    ),
    "endpoints.slow": by(
        noted=["lifecycle.convergence"],
        options=_PATIENT,
    ),
    "endpoints.terminating-dropped": by("endpoints.terminating"),
    "endpoints.wrong-label": by("endpoints.selector-mismatch"),
    "lb.address-kept": by("loadbalancer.given-up", "loadbalancer.released"),
    "lb.class-ignored": by("loadbalancer.class", "loadbalancer.ip-mode"),
    "lb.late-and-open": by("loadbalancer.source-ranges", "loadbalancer.source-ranges-outside"),
    "lb.no-node-port": by("loadbalancer.includes-node-port"),
    "lb.pending": by(
        unsupported=[
            "loadbalancer.affinity",
            "loadbalancer.assigned",
            "loadbalancer.class",
            "loadbalancer.external-local",
            "loadbalancer.from-nodes",
            "loadbalancer.from-outside",
            "loadbalancer.from-pods",
            "loadbalancer.given-up",
            "loadbalancer.no-node-ports",
            "loadbalancer.released",
            "loadbalancer.requested-address",
            "loadbalancer.source-ranges",
            "loadbalancer.source-ranges-outside",
            "loadbalancer.udp",
            "loadbalancer.udp-outside",
        ],
        # it asks nothing of the load balancer: unsupported only where it has not begun when that is found to be absent
        perhaps=["loadbalancer.includes-node-port"],
    ),
    "lb.pool-empty": by(
        "loadbalancer.affinity", "loadbalancer.assigned", "loadbalancer.class",
        "loadbalancer.external-local", "loadbalancer.from-nodes", "loadbalancer.from-outside",
        "loadbalancer.from-pods", "loadbalancer.given-up",
        "loadbalancer.no-node-ports", "loadbalancer.released",
        "loadbalancer.requested-address", "loadbalancer.source-ranges",
        "loadbalancer.source-ranges-outside", "loadbalancer.udp", "loadbalancer.udp-outside",
    ),
    "lb.requested-address-ignored": by(
        "loadbalancer.annotations", "loadbalancer.requested-address",
        options=["--lb-provider=metallb"],
    ),
    "lb.requested-address-refused": by(
        "loadbalancer.annotations", "loadbalancer.requested-address",
        options=["--lb-provider=metallb"],
    ),
    "lb.udp-ignored": by("loadbalancer.udp", "loadbalancer.udp-outside"),
    "lb.unannounced": by(
        "loadbalancer.external-local", "loadbalancer.from-outside", "loadbalancer.given-up",
        "loadbalancer.released", "loadbalancer.source-ranges-outside", "loadbalancer.udp-outside",
    ),
    "lb.wrong-node": by("loadbalancer.external-local"),
    "net.large-dns-answers-lost": by("dns.large-answers"),
    "net.large-dns-answers-lost-on-one-node": by("dns.large-answers"),
    # the certificate of an API server is more than that
    "net.large-lost-on-one-node": by("clusterip.api-server", "clusterip.large-transfer", "nodes.large-transfer"),
    "net.loss-5-percent": by(
        "clusterip.from-pod", "nodes.mesh", "nodes.no-snat",
        full_length=True,
        overlooked="0.95^1620 = 8e-37: nodes.no-snat makes 6 times 135 connections to other nodes, and the kernel "
        "counts a retransmission where the first packet of one or its request is lost; 0.95^540 = 9e-13 by "
        "clusterip.from-pod alone",
        perhaps=["*"],
    ),
    "net.middlebox": recovers("--proxy-mode=iptables"),
    "net.mtu": by("clusterip.large-transfer", "nodes.large-transfer"),
    "net.mtu-of-pair": by("clusterip.large-transfer", "nodes.large-transfer"),
    "net.no-egress": by(
        "affinity.sticks", "clusterip.api-server", "endpoints.host-network", "lifecycle.type-changes",
        "loadbalancer.health-check-node-port", "loadbalancer.includes-node-port", "nodeport.closed-after",
        "nodeport.explicit", "nodeport.from-pods", "nodes.from-pods",
        options=["--nodes=3"],  # of two nodes that do not reach each other either may be the one that is cut off
    ),
    "net.node-pair-cut": by(
        "clusterip.all-endpoints", "clusterip.from-pod", "nodes.mesh", "nodes.no-snat", perhaps=["*"]
    ),
    "net.one-way": by("clusterip.from-pod", "nodes.no-snat", perhaps=["*"]),
    "net.second-fragments-lost": by("clusterip.large-transfer", "nodes.large-transfer"),
    "net.service-range-routed": by(noted=["clusterip.internal-only"]),
    "net.snat": by("clusterip.source-ip", "nodes.no-snat"),
    # the pod that has the host network of a node may be on this one
    "node.closed-to-own-pods": by(
        "loadbalancer.health-check-node-port", "nodes.from-pods", perhaps=["endpoints.host-network"]),
    "node.connection-limit": by("clusterip.burst"),
    "node.conntrack-forgets": by("clusterip.idle-connection"),
    "node.conntrack-small": by("nodes.mesh", perhaps=["*"]),
    "node.dns-second-query-lost": by("dns.parallel-queries"),
    "node.forwarding-off": by(
        "clusterip.all-endpoints", "clusterip.from-pod", "nodes.mesh", "nodes.no-snat", perhaps=["*"]
    ),
    "node.full": stops("Insufficient cpu"),
    "node.half-closed-cut": by("nodes.half-closed"),
    "node.marked-lost": by("nodes.marked-packets"),
    "proxy.affinity-forgotten": by("affinity.survives-scale-up"),
    "proxy.affinity-ignored": by(
        "affinity.endpoint-gone", "affinity.expires", "affinity.many-clients", "affinity.sticks",
        "affinity.survives-scale-up", "affinity.switched", "loadbalancer.affinity",
    ),
    "proxy.affinity-never-expires": by("affinity.expires"),
    "proxy.affinity-not-switched": by("affinity.switched"),
    "proxy.affinity-per-node": by("affinity.many-clients"),
    "proxy.affinity-to-dead-endpoint": by("affinity.endpoint-gone"),
    "proxy.affinity-too-short": by("affinity.expires"),
    "proxy.cluster-ip-kept": by("lifecycle.type-changes"),
    "proxy.connections-cut": by("endpoints.live-connections"),
    # a connection that is just being made may be cut as well
    "proxy.connections-cut-by-changes": by("clusterip.idle-connection", perhaps=["*"]),
    "proxy.conntrack-not-flushed": by("endpoints.udp-after-replacement"),
    "proxy.external-ips-ignored": by("clusterip.external-ips"),
    "proxy.external-local-ignored": by("loadbalancer.external-local", "nodeport.external-local"),
    "proxy.first-endpoint-only": by(
        "affinity.expires", "affinity.many-clients", "affinity.survives-scale-up", "affinity.switched",
        "clusterip.all-endpoints", "clusterip.from-pod", "clusterip.hairpin", "clusterip.large-transfer",
        "clusterip.two-services", "endpoints.many-slices", "endpoints.ready-only", "endpoints.replaced-pod",
        "endpoints.rolling-update", "endpoints.scale", "endpoints.terminating",
        "loadbalancer.from-outside", "ports.named-target", "topology.prefer-same-node",
        noted=["clusterip.fair"],
    ),
    "proxy.first-port-only": by(
        "clusterip.all-endpoints", "clusterip.external-ips", "clusterip.idle-connection",
        "clusterip.internal-traffic-local", "clusterip.large-transfer", "dns.tcp", "endpoints.host-network",
        "endpoints.live-connections", "endpoints.manual", "endpoints.udp-after-replacement",
        "headless.many", "headless.srv", "lifecycle.recreated", "nodes.half-closed", "nodes.marked-packets",
        "ports.changed", "ports.multi", "ports.same-number-two-protocols", "ports.udp",
        noted=("dns.case-and-ttl",),
    ),
    "proxy.health-check-always-ok": by("loadbalancer.health-check-node-port"),
    "proxy.internal-local-ignored": by("clusterip.internal-traffic-local"),
    "proxy.ip-mode-ignored": by("loadbalancer.ip-mode"),
    "proxy.labels-ignored": by("labels.headless", "labels.service-proxy-name"),
    "proxy.localhost-on-one-node": by(noted=["nodeport.localhost"]),
    "proxy.manual-ignored": by("endpoints.manual", "endpoints.many-slices", "labels.headless"),
    "proxy.masquerade-all": by("clusterip.source-ip"),
    "proxy.no-hairpin": by("affinity.many-clients", "clusterip.hairpin"),
    "proxy.no-reject": by("clusterip.no-endpoints-refused"),
    "proxy.node-listeners": by(
        "clusterip.undeclared-port", unsupported=["affinity.expires"], options=["--proxy-mode=ipvs"]
    ),
    "proxy.node-port-kept": by(
        "lifecycle.type-changes", "nodeport.closed-after",
        noted=["lifecycle.convergence"],
    ),
    "proxy.node-port-local-only": by("nodeport.every-node", "nodeport.source-ip-cluster"),
    "proxy.node-port-on-cluster-ip": by("clusterip.not-on-node-port"),
    "proxy.node-port-one-address": by(
        "affinity.sticks", "lifecycle.type-changes", "loadbalancer.includes-node-port",
        "nodeport.closed-after", "nodeport.every-node", "nodeport.explicit",
        "nodeport.from-nodes", "nodeport.from-pods", "nodeport.source-ip-cluster", "nodes.mesh",
        "ports.udp",
        # its endpoint may be on the very node whose address serves node ports
        perhaps=["nodeport.external-local"],
    ),
    "proxy.not-ready-included": by(
        "endpoints.live-connections", "endpoints.ready-only", "endpoints.rolling-update"
    ),
    "proxy.one-node-stuck": by(
        "affinity.switched", "clusterip.allocated",
        "endpoints.live-connections", "endpoints.manual", "endpoints.ready-only",
        "endpoints.replaced-pod", "endpoints.rolling-update", "endpoints.scale",
        "labels.headless", "lifecycle.type-changes", "loadbalancer.source-ranges",
        "nodeport.closed-after", "ports.changed", "ports.same-number-two-protocols",
        "topology.prefer-same-node",
        noted=["lifecycle.convergence"],
        # which endpoint goes is up to the first client: the one of the node may have been at the other; and on a busy
        # machine an endpoint that comes and one that goes may be one change to the node, which then is not stuck yet.
        # Which node announces a load-balancer address is up to the balancer
        perhaps=[
            "affinity.endpoint-gone", "endpoints.udp-after-replacement", "loadbalancer.source-ranges-outside",
        ],
    ),
    "proxy.other-mode": by(noted=["proxy.mode"]),
    "proxy.ports-kept": by("ports.changed", "ports.same-number-two-protocols"),
    "proxy.protocol-mixed-up": by("ports.same-number-two-protocols"),
    "proxy.recreated-ignored": by(
        "labels.service-proxy-name", "lifecycle.recreated",
        # it makes its second Service right after the first has gone: a proxy may see one change only
        perhaps=["nodeport.closed-after"],
    ),
    "proxy.same-port": by("clusterip.undeclared-port"),
    "proxy.sctp-ignored": by("ports.sctp", needs="sctp"),
    "proxy.slow": by(
        noted=["lifecycle.convergence"],
        options=_PATIENT,
    ),
    "proxy.source-ranges-ignored": by("loadbalancer.source-ranges", "loadbalancer.source-ranges-outside"),
    "proxy.stale-endpoint": by(
        "affinity.endpoint-gone", "clusterip.allocated", "endpoints.manual", "endpoints.ready-only",
        "endpoints.replaced-pod", "endpoints.rolling-update", "endpoints.scale",
        "endpoints.udp-after-replacement", "topology.prefer-same-node", "topology.prefer-same-zone",
        noted=["lifecycle.convergence"],
        overlooked="1e-9 for each vantage: one of k endpoints is stale, and a series sees each of k endpoints with "
        "a probability of 1 - 1e-9, whatever the length for losses",
    ),
    "proxy.target-port-ignored": by(
        *_BALANCED, "clusterip.api-server", "endpoints.manual", "endpoints.many-slices", "labels.headless",
        error=_CONTROLLED, noted=_MEASURED,
    ),
    "proxy.twins-confused": by("clusterip.two-services"),
    "proxy.undeclared-ports": by(
        "clusterip.not-on-node-port", "clusterip.undeclared-port", "ports.changed",
    ),
    "proxy.unfair": by(
        noted=["clusterip.fair"],
        overlooked="less than 1e-18: one of three endpoints gets 67 % of 600 requests, 47 % are noted, which is ten "
        "standard deviations less",
    ),
    "proxy.unhealthy": by(noted=["proxy.healthy"]),
    # whatever has a connection to a cluster IP from that node, if only to see whether it works
    "proxy.upper-ports-lost": by(
        "clusterip.all-endpoints", "clusterip.from-node", "clusterip.from-pod", perhaps=["*"]
    ),
    "topology.hints-ignored": by("topology.prefer-same-node", "topology.prefer-same-zone"),
    "topology.no-fallback": by("topology.prefer-same-node", "topology.prefer-same-zone"),
    "topology.no-hints": by("topology.prefer-same-node", "topology.prefer-same-zone"),
    "workload.crash-loop": stops("CrashLoopBackOff"),
    "workload.image-missing": stops("ErrImagePull"),
    "workload.sidecar-injected": recovers(),
    "workload.wrong-label": by(
        *_NODE_PORTED, "nodeport.external-local", error=_NODE_PORT_CONTROLLED, noted=_NODE_PORT_MEASURED,
    ),
    "workload.wrong-port": by(
        *_NODE_PORTED, "nodeport.external-local", error=_NODE_PORT_CONTROLLED, noted=_NODE_PORT_MEASURED,
    ),
}  # fmt: skip
