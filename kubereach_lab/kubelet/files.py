"""/etc/resolv.conf, /etc/hosts and the host name of a pod.

Source: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubereach_lab.config import LabConfig

Object = dict[str, Any]

_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
{multicast}
"""


def resolv_conf(config: LabConfig, pod: Object) -> str:
    """What dnsPolicy and dnsConfig ask for."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy", "ClusterFirst")
    nameservers: list[str] = []
    searches: list[str] = []
    options: dict[str, str | None] = {}
    if policy == "Default" or (policy == "ClusterFirst" and spec.get("hostNetwork")):
        if not config.faults.dns.default_policy_empty:
            nameservers, options = [config.plans[0].outside], {"ndots": "0"}
    elif policy != "None":
        domain = config.cluster_domain
        nameservers = [config.dns_address]
        searches = [f"{pod['metadata']['namespace']}.svc.{domain}", f"svc.{domain}", domain]
        options = {"ndots": "5"}
    if config.faults.dns.search_missing:
        searches = []
    extra = spec.get("dnsConfig") or {}
    nameservers = list(dict.fromkeys([*nameservers, *extra.get("nameservers", [])]))[:3]
    searches = list(dict.fromkeys([*searches, *extra.get("searches", [])]))
    options |= {option["name"]: option.get("value") for option in extra.get("options", [])}
    lines = [f"search {' '.join(searches)}"] if searches else []
    lines += [f"nameserver {server}" for server in nameservers]
    if options:
        lines.append(
            "options "
            + " ".join(name if value is None else f"{name}:{value}" for name, value in options.items())
        )
    return "\n".join(lines) + "\n"


def host_name(config: LabConfig, pod: Object, node: str) -> str:
    """What hostname(1) says in the pod."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        return node
    if spec.get("hostnameOverride"):
        return str(spec["hostnameOverride"])
    name = spec.get("hostname") or pod["metadata"]["name"]
    if spec.get("setHostnameAsFQDN") and spec.get("subdomain"):
        return _qualified(config, pod, name)
    return str(name)[:63].rstrip("-.")


def _qualified(config: LabConfig, pod: Object, name: str) -> str:
    return f"{name}.{pod['spec']['subdomain']}.{pod['metadata']['namespace']}.svc.{config.cluster_domain}"


def hosts(config: LabConfig, pod: Object, node: str, addresses: Sequence[str]) -> str:
    """/etc/hosts as the kubelet manages it: one line for each address of the pod."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        multicast = "ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters"
        text = "# Kubernetes-managed hosts file (host network).\n" + _HOSTS.format(multicast=multicast)
        text += "".join(f"{address}\t{node}\n" for address in addresses)
    else:
        multicast = "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters"
        text = "# Kubernetes-managed hosts file.\n" + _HOSTS.format(multicast=multicast)
        name = spec.get("hostnameOverride") or spec.get("hostname") or pod["metadata"]["name"]
        if spec.get("subdomain") and not spec.get("hostnameOverride"):
            name = f"{_qualified(config, pod, name)}\t{name}"
        text += "".join(f"{address}\t{name}\n" for address in addresses)
    aliases = spec.get("hostAliases") or []
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join(f"{alias['ip']}\t" + "\t".join(alias["hostnames"]) + "\n" for alias in aliases)
    return text
