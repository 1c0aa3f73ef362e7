"""Faults of the API server, of its controllers, and of what users ask for."""

from __future__ import annotations

from kubereach_lab.faults.fault import API, PROXY, WORKLOAD, Fault, Group


class Api(Group):
    """What the API server gets wrong."""

    prefix = "api"

    affinity_default_wrong = Fault("ClientIP affinity lasts one hour where nothing is said", API)
    busy = Fault("one API request in twenty is refused with 429: try again in a second", API)
    drops_watch = Fault("watches end after a second, without a word", API)
    exec_forbidden = Fault("the API server forbids exec into pods", API)
    fails_to_read = Fault("one API request in twenty that reads fails with 500", API)
    forbidden = Fault("we may not create Services, and the API server says so when asked", API)
    late_watch = Fault("watches of workloads tell nothing for their first two seconds", API)
    limit_range = Fault("a limit range asks for more memory than our containers do", API)
    newer = Fault("the API's objects have fields that no client knows, and null for lists", API)
    node_ports_forced = Fault("LoadBalancer Services get node ports, wanted or not", API)
    node_ports_not_freed = Fault("the node ports of a deleted Service stay taken", API)
    node_ports_shared = Fault("ports of a Service with different protocols get one node port", API)
    pod_security = Fault("PodSecurity forbids our pods", API)
    quota = Fault("a quota forbids further pods", API)
    slow = Fault("the API takes 0.3 s longer for every answer", API)


class Endpoints(Group):
    """What EndpointSlices get wrong, or who reads them."""

    prefix = "endpoints"

    empty = Fault("the EndpointSlice controller finds no pods", API)
    first_slice_only = Fault("the service proxy reads one of several EndpointSlices", PROXY)
    late_wrong_label = Fault(
        "a selector's value finds pods whose value it only begins with, a second after the Service was made",
        API,
    )
    no_hostnames = Fault("EndpointSlices lack the pods' hostnames", API)
    not_ready_included = Fault("the EndpointSlice controller calls every endpoint ready", API)
    slow = Fault("the EndpointSlice controller is 8 s late", API)
    terminating_dropped = Fault("terminating pods leave EndpointSlices at once", API, "KEP-1669")
    wrong_label = Fault("a selector's value finds pods whose value it only begins with", API)


class Workload(Group):
    """What is wrong with what users have asked for."""

    prefix = "workload"

    crash_loop = Fault("the program in every pod ends as soon as it has begun", WORKLOAD)
    image_missing = Fault("there is no image of the name that pods ask for", WORKLOAD)
    sidecar_injected = Fault("every pod gets a container more, as a service mesh injects it", WORKLOAD)
    wrong_label = Fault("selectors of NodePort Services match no pod", WORKLOAD)
    wrong_port = Fault("target ports of NodePort Services are ones that nobody listens on", WORKLOAD)
