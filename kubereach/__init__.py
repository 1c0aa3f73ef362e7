"""kubereach: does every way of reaching a Kubernetes Service work, from everywhere it should?

What a file of checks needs to declare them is here; what they assert with is in `kubereach.expect`.
"""

from kubereach.model.check import (
    CORE,
    DISR,
    DNS_SPEC,
    DOCS,
    DUAL_STACK,
    EXT,
    EXTERNAL_NAME,
    HOST_NETWORK,
    INFO,
    LABELS,
    LB_CONTROLLER,
    LOADBALANCER,
    MULTI_NODE,
    OTHER_NAMESPACE,
    OUTSIDE,
    OUTSIDE_DUAL,
    POD_LIFECYCLE,
    SAME_NODE,
    SAME_ZONE,
    SCTP,
    SOURCE_IP,
    TASKS,
    VIRTUAL_IPS,
    check,
)

__version__ = "0.1.0"

__all__ = [
    "CORE",
    "DISR",
    "DNS_SPEC",
    "DOCS",
    "DUAL_STACK",
    "EXT",
    "EXTERNAL_NAME",
    "HOST_NETWORK",
    "INFO",
    "LABELS",
    "LB_CONTROLLER",
    "LOADBALANCER",
    "MULTI_NODE",
    "OTHER_NAMESPACE",
    "OUTSIDE",
    "OUTSIDE_DUAL",
    "POD_LIFECYCLE",
    "SAME_NODE",
    "SAME_ZONE",
    "SCTP",
    "SOURCE_IP",
    "TASKS",
    "VIRTUAL_IPS",
    "check",
]
