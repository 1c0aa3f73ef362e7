"""Expectations of /etc/resolv.conf in pods and on nodes.

Source: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import ip_address

from kubereach.kube.resolv_conf import ResolvConf
from kubereach.model.errors import Failure, NotConforming
from kubereach.model.finding import NODE
from kubereach.model.tally import judged
from kubereach.probe import Vantage


def to_be_configured(
    vantages: Sequence[Vantage], *, nameservers: Collection[str], search: Sequence[str], ndots: int | None
) -> None:
    """/etc/resolv.conf has exactly these name servers, search list (in order) and ndots (None: whatever).

    A link-local name server stands for the cluster's own: that is how NodeLocal DNSCache is set up.
    """
    judged(len(vantages), len(vantages))
    failures = []
    for vantage in vantages:
        found = ResolvConf.parse(vantage.read_file("/etc/resolv.conf"))
        servers = tuple(nameservers)
        local = all(ip_address(address).is_link_local for address in found.nameservers)
        wanted = ResolvConf(
            found.nameservers if local and found.nameservers else servers,
            # a node's own search list may follow the cluster's
            tuple(search) + found.search[len(search) :],
            found.ndots if ndots is None else ndots,
        )
        if found != wanted:
            where = f"{vantage.pod} /etc/resolv.conf" if vantage.pod else "/etc/resolv.conf"
            failures.append(Failure(vantage.name, where, _conf(wanted), _conf(found), layer=NODE))
    if failures:
        raise NotConforming(failures)


def not_to_be_configured(vantages: Sequence[Vantage], *, search: str) -> None:
    """/etc/resolv.conf has name servers, and not `search` in its search list: of an empty file that is no merit."""
    judged(len(vantages), len(vantages))
    failures = []
    for vantage in vantages:
        found = ResolvConf.parse(vantage.read_file("/etc/resolv.conf"))
        if not found.nameservers or search in found.search:
            expected = f"the node's name servers, and no search domain {search}"
            where = f"{vantage.pod} /etc/resolv.conf" if vantage.pod else "/etc/resolv.conf"
            failures.append(Failure(vantage.name, where, expected, _conf(found), layer=NODE))
    if failures:
        raise NotConforming(failures)


def _conf(conf: ResolvConf) -> str:
    servers, search = " ".join(conf.nameservers) or "none", " ".join(conf.search) or "none"
    return f"nameservers {servers}; search {search}; ndots {conf.ndots}"
