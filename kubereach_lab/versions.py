"""The versions of Kubernetes that a lab can play, and since which minor version what is there: the one table.

Feature gates are at their defaults. A field whose gate is off is dropped from what clients send, without a word.
Sources: pkg/features/kube_features.go of Kubernetes, and the pull requests that are named.
"""

from __future__ import annotations

import re

#: minor versions, both included: those whose schemas there are, less what nobody supports any more
OLDEST, NEWEST = 29, 37
#: that of the recordings which the lab is compared with
DEFAULT = "v1.36.2"

#: an address's ipMode is kept in status.loadBalancer (gate LoadBalancerIPMode)
IP_MODE = 30
#: the API server takes exec by v5.channel.k8s.io (gate TranslateStreamCloseWebsocketRequests)
V5_STREAMS = 30
#: spec.trafficDistribution is kept, with the one value PreferClose (gate ServiceTrafficDistribution)
TRAFFIC_DISTRIBUTION = 31
#: kube-proxy compares UDP flows with endpoints, and forgets those of Services that have none (kubernetes #127318)
FLOWS_COMPARED = 32
#: the resource servicecidrs is served (gate MultiCIDRServiceAllocator)
SERVICE_CIDRS = 33
#: answers about Endpoints come with a warning
ENDPOINTS_DEPRECATED = 33
#: pods have a metadata.generation (KEP-5067)
POD_GENERATION = 33
#: PreferSameZone and PreferSameNode, and a warning of PreferClose (gate PreferSameTrafficDistribution)
PREFER_SAME = 34
#: the label service.kubernetes.io/headless keeps EndpointSlices from kube-proxy, and no longer Services too
#: (kubernetes #134623)
HEADLESS_ON_SLICES_ALONE = 35
#: spec.externalIPs come with a warning
EXTERNAL_IPS_DEPRECATED = 36
#: flows of Services that have lost their last endpoint are ended again (kubernetes #139629)
EMPTIED_FLOWS_ENDED = 37


def named(text: str) -> str:
    """The version that ``1.29``, ``v1.29`` or ``v1.29.3`` means. Raises ValueError for one that the lab cannot play."""
    found = re.fullmatch(r"v?1\.(\d+)(\.\d+)?", text)
    if not found or not OLDEST <= int(found[1]) <= NEWEST:
        raise ValueError(f"the lab plays Kubernetes 1.{OLDEST} to 1.{NEWEST}, not {text}")
    if not found[2] and int(found[1]) == minor_of(DEFAULT):
        return DEFAULT
    return f"v1.{found[1]}{found[2] or '.0'}"


def minor_of(version: str) -> int:
    """29 of ``v1.29.0``."""
    return int(version.split(".")[1])
