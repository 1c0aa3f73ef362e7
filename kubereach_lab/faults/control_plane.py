"""Faults of the API server, of its controllers, and of what users ask for."""

from __future__ import annotations

from kubereach_lab.faults.fault import API, PROXY, WORKLOAD, Fault, Group


class Api(Group):
    """What the API server gets wrong."""

    prefix = "api"

    affinity_default_wrong = Fault("ClientIP affinity lasts one hour where the Service sets no timeout", API)
    busy = Fault("one API request in twenty is rejected with 429 and Retry-After: 1", API)
    drops_watch = Fault("watches end after one second without an error", API)
    exec_forbidden = Fault("the API server forbids exec into pods", API)
    fails_to_read = Fault("one API read request in twenty fails with 500", API)
    forbidden = Fault("RBAC forbids the run to create Services", API)
    late_watch = Fault("watches of workloads send no events for their first two seconds", API)
    limit_range = Fault("a LimitRange requires more memory than kubereach's containers request", API)
    newer = Fault("API objects have unknown fields, and null in place of lists", API)
    node_ports_forced = Fault(
        "LoadBalancer Services get node ports despite allocateLoadBalancerNodePorts: false", API
    )
    node_ports_not_freed = Fault("the node ports of a deleted Service stay allocated", API)
    node_ports_shared = Fault("ports of a Service with different protocols get the same node port", API)
    pod_security = Fault("PodSecurity rejects kubereach's pods", API)
    quota = Fault("a ResourceQuota rejects further pods", API)
    slow = Fault("the API server delays every response by 0.3 s", API)


class Endpoints(Group):
    """What EndpointSlices get wrong, or who reads them."""

    prefix = "endpoints"

    empty = Fault("the EndpointSlice controller creates empty EndpointSlices", API)
    first_slice_only = Fault("the service proxy reads one of several EndpointSlices", PROXY)
    late_wrong_label = Fault(
        "selectors match label values by prefix, one second after the Service was created",
        API,
    )
    no_hostnames = Fault("EndpointSlices lack the pods' hostnames", API)
    not_ready_included = Fault("the EndpointSlice controller marks every endpoint as ready", API)
    slow = Fault("the EndpointSlice controller is 8 s late", API)
    terminating_dropped = Fault("EndpointSlices drop terminating pods at once", API, "KEP-1669")
    wrong_label = Fault("selectors match label values by prefix", API)


class Workload(Group):
    """What is wrong with what users have asked for."""

    prefix = "workload"

    crash_loop = Fault("the container of every pod exits immediately", WORKLOAD)
    image_missing = Fault("the image of the pods does not exist", WORKLOAD)
    sidecar_injected = Fault("every pod gets a sidecar container, as a service mesh injects it", WORKLOAD)
    wrong_label = Fault("selectors of NodePort Services match no pod", WORKLOAD)
    wrong_port = Fault("no process listens on the target ports of NodePort Services", WORKLOAD)
