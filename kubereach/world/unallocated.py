"""Cluster IPs that no Service has: what answers there is no Service of the cluster."""

from __future__ import annotations

import ipaddress
import random
import threading
from collections.abc import Sequence

from kubereach.kube.client import Api, ApiError
from kubereach.kube.cluster import Cluster
from kubereach.model.errors import CannotMeasure

#: the API server gives the first addresses of a range only to Services that ask for one of them (KEP-3070): so many at
#: least, and at most
_STATIC = (16, 256)


class Unallocated:
    """Finds them when they are first wanted, one of each Service range; may be asked by several threads."""

    def __init__(self, api: Api, cluster: Cluster) -> None:
        self._api, self._cluster = api, cluster
        self._found: tuple[str, ...] | None = None
        self._lock = threading.Lock()

    def of(self, version: int) -> Sequence[str]:
        """Those of an IP version; none where ranges are unknown or Services cannot be listed."""
        with self._lock:
            if self._found is None:
                self._found = self._find()
        return [address for address in self._found if ipaddress.ip_address(address).version == version]

    def _find(self) -> tuple[str, ...]:
        try:
            services = self._api.items("/api/v1/services")
        except (ApiError, CannotMeasure):
            return ()  # what answers is then compared with addresses for documentation alone
        given = {address for service in services for address in service["spec"].get("clusterIPs") or ()}
        used = given - {"None"}  # of headless Services
        return tuple(
            address for cidr in self._cluster.service_cidrs if (address := free_in(cidr, used)) is not None
        )


def free_in(cidr: str, used: set[str]) -> str | None:
    """A random address of a range that is not used, of those that nobody gets without asking; None if there is none."""
    network = ipaddress.ip_network(cidr)
    taken = {ipaddress.ip_address(address) for address in used}
    static = min(max(_STATIC[0], network.num_addresses // 16), _STATIC[1])
    # neither the range's own address nor the API server's, the first
    band = [network[n] for n in range(2, min(static, network.num_addresses - 1))]
    free = [address for address in band if address not in taken]
    return str(random.choice(free)) if free else None
