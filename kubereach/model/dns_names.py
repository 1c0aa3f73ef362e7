"""The names that cluster DNS gives to Services and endpoints.

Source: Kubernetes DNS-Based Service Discovery, https://github.com/kubernetes/dns/blob/master/docs/specification.md
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


def fqdn(service: str, namespace: str, domain: str) -> str:
    """``web.shop.svc.cluster.local.``: the whole name of a Service, with the final dot."""
    return f"{service}.{namespace}.svc.{domain}."


def qualified(service: str, namespace: str, domain: str) -> tuple[str, ...]:
    """Every form of a Service's name that must work from any namespace, with and without the final dot."""
    whole = fqdn(service, namespace, domain)
    return (f"{service}.{namespace}", f"{service}.{namespace}.svc", whole[:-1], whole)


def srv(port: str, protocol: str, service: str, namespace: str, domain: str) -> str:
    """``_http._tcp.web.shop.svc.cluster.local.``: where the SRV records of a named port are."""
    return f"_{port}._{protocol.lower()}.{fqdn(service, namespace, domain)}"


def of_families(versions: Iterable[int]) -> dict[str, object]:
    """What a Service's spec says to have addresses of these IP versions (4, 6), the first one first.

    Source: https://kubernetes.io/docs/concepts/services-networking/dual-stack/#services
    """
    families = [f"IPv{version}" for version in dict.fromkeys(versions)]
    policy = {"ipFamilyPolicy": "RequireDualStack"} if len(families) > 1 else {}
    return {**policy, "ipFamilies": families}


def rdtype(address: str) -> str:
    """The type of a DNS record that holds an address: A or AAAA."""
    return "AAAA" if ":" in address else "A"


def reverse(address: str) -> str:
    """The name of an address' PTR record, with the final dot."""
    return ipaddress.ip_address(address).reverse_pointer + "."


def mixed_case(name: str) -> str:
    """The same name with every other character in upper case, as resolvers write it that tell forged answers by it."""
    return "".join(one.upper() if at % 2 else one for at, one in enumerate(name))


def search_list(namespace: str, domain: str) -> tuple[str, ...]:
    """The search list that dnsPolicy ClusterFirst gives to pods of a namespace."""
    return (f"{namespace}.svc.{domain}", f"svc.{domain}", domain)
