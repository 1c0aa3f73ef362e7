"""Ranges of addresses and ports: those that the API server gives Services numbers of, and what is outside of them."""

from __future__ import annotations

import ipaddress
import re

from kubereach.kube.client import Api, ApiError, Object
from kubereach.model.errors import CannotMeasure

#: addresses that are of no service range (RFC 5737, RFC 3849)
_IMPOSSIBLE = ("192.0.2.1", "2001:db8::1")
#: where nobody expects clients' own ports (ip_local_port_range begins at 32768) nor the ports of well-known programs:
#: first port and how many tens of them
_FOR_HOSTS = ((21000, 800), (11000, 800), (61000, 400))


def services(api: Api, namespace: str) -> tuple[str, ...]:
    """From the ServiceCIDR objects (Kubernetes 1.33 and later), else from the refusals of impossible cluster IPs.

    Each family has a refusal of its own: who serves IPv6 alone tells nobody its range who asks for an IPv4 address.
    """
    found = api.find("/apis/networking.k8s.io/v1/servicecidrs")
    if found:
        ranges = [cidr for item in found.get("items") or () for cidr in item["spec"].get("cidrs") or ()]
        if ranges:
            return tuple(ranges)
    return tuple(cidr for address in _IMPOSSIBLE for cidr in _range_by_refusal(api, namespace, address))


def _range_by_refusal(api: Api, namespace: str, address: str) -> list[str]:
    """The range of an address' family, which the API server tells when it refuses the address; empty if it does not."""
    impossible: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubereach-range", "namespace": namespace},
        "spec": {"clusterIP": address, "ports": [{"port": 80}]},
    }
    try:
        api.create(impossible, dry_run=True)
    except ApiError as error:
        # "the provided IP (192.0.2.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16"
        return [word for word in re.findall(r"[0-9a-fA-F.:]+/\d+", error.message) if _is_range(word, address)]
    return []


def node_ports(api: Api, namespace: str) -> tuple[int, int] | None:
    """The range that the API server tells when it refuses a node port outside of it, by a dry run."""
    impossible: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubereach-node-ports", "namespace": namespace},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 1}]},
    }
    try:
        api.create(impossible, dry_run=True)
    except ApiError as error:
        # "provided port is not in the valid range. The range of valid ports is 30000-32767"
        found = re.search(r"range of valid ports is (\d+)-(\d+)", error.message)
        return (int(found[1]), int(found[2])) if found else None
    return None


def _is_range(word: str, address: str) -> bool:
    """Whether a word is a range of IP addresses, of the same version as an address."""
    try:
        return ipaddress.ip_network(word).version == ipaddress.ip_address(address).version
    except ValueError:
        return False


def free_ports(node_ports: tuple[int, int] | None, number: int) -> int:
    """The first of ten ports that are outside the node port range, if that is known; runs with other numbers differ.

    A node port is taken away from whoever listens on it. Raises `CannotMeasure` where the range leaves none.
    """
    first, last = node_ports or (30000, 32767)
    for begin, tens in _FOR_HOSTS:
        if last < begin or first >= begin + 10 * tens:
            return begin + number % tens * 10
    raise CannotMeasure(
        f"the node port range {first}-{last} leaves no ports for pods with hostNetwork",
        "A port of such a pod may be the node port of a Service.",
    )


def documentation_address(version: int, number: int) -> str:
    """An address of an IP version (4 or 6) that is nobody's (RFC 5737, RFC 3849): one of 254, chosen by `number`."""
    host = 1 + number % 254
    return f"2001:db8:cb00:7100::{host:x}" if version == 6 else f"203.0.113.{host}"
