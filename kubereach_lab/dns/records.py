"""The records of one Service, as the Kubernetes DNS specification (1.1.0) and CoreDNS give them.

Source: https://github.com/kubernetes/dns/blob/master/docs/specification.md
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from kubereach_lab.faults import HEALTHY, Faults

Object = dict[str, Any]
#: an address of the service range of each type of record that nobody serves
_NOBODYS = {"A": "10.96.255.254", "AAAA": "fd00:10:96::fffe"}
#: owner name (lower case, no final dot), type, data. SRV data is ``port target``; its weight is known when asked for.
Record = tuple[str, str, str]


def service_records(
    service: Object, slices: Sequence[Object], domain: str, faults: Faults = HEALTHY
) -> list[Record]:
    """All records that exist because of this Service, reverse names included."""
    meta, spec = service["metadata"], service["spec"]
    name = f"{meta['name']}.{meta['namespace']}.svc.{domain}"
    if spec["type"] == "ExternalName":
        return [] if faults.dns.no_cname else [(name, "CNAME", spec["externalName"].rstrip(".").lower())]
    if faults.dns.manual_ignored and not spec.get("selector"):
        slices = ()
    endpoints = list(_endpoints(slices, name, faults))
    if spec.get("clusterIP") == "None":
        return _known(_headless(name, endpoints, faults), faults)
    if faults.dns.empty_ignored and not endpoints:
        return []
    records: list[Record] = []
    addresses = spec.get("clusterIPs") or [spec["clusterIP"]]
    if faults.dns.wrong_address:
        addresses = [str(ipaddress.ip_address(address) + 1) for address in addresses]
    for address in addresses:
        records.append((name, _family(address), address))
        records.append((reverse(address), "PTR", name))
    services: list[Record] = []  # kept apart, since two ports of one number count twice in the weights
    for port in spec.get("ports", []):
        services.append((name, "SRV", f"{port['port']} {name}"))
        if port.get("name"):
            owner = _port_name(port["name"], port["protocol"], name)
            records.append((owner, "SRV", f"{port['port']} {name}"))
            records += [(owner, _family(address), address) for address in addresses]
    records += [(reverse(address), "PTR", owner) for owner, address, _ in endpoints]
    return _known(_unique(records) + services, faults)


def _known(records: list[Record], faults: Faults) -> list[Record]:
    """The records of the types that the server knows."""
    missing = {"SRV": faults.dns.no_srv, "PTR": faults.dns.no_ptr}
    return [record for record in records if not missing.get(record[1])]


def _headless(name: str, endpoints: list[tuple[str, str, list[Object]]], faults: Faults) -> list[Record]:
    records: list[Record] = []
    for owner, address, ports in endpoints:
        if faults.dns.headless_vip:
            records.append((name, _family(address), _NOBODYS[_family(address)]))
        elif not faults.dns.headless_one_address or not records:
            records.append((name, _family(address), address))
        if not faults.dns.no_pod_names:
            records.append((owner, _family(address), address))
        records.append((reverse(address), "PTR", owner))
        for port in ports:
            data = f"{port['port']} {owner}"
            records.append((name, "SRV", data))
            records.append((owner, "SRV", data))
            if port.get("name"):
                port_owner = _port_name(port["name"], port.get("protocol", "TCP"), name)
                records.append((port_owner, "SRV", data))
                records.append((port_owner, _family(address), address))
    return _unique(records)


def _endpoints(slices: Sequence[Object], name: str, faults: Faults) -> list[tuple[str, str, list[Object]]]:
    """(name, address, ports) of every ready endpoint. Its name is its hostname, or else its address with dashes."""
    found = []
    for part in slices:
        if part.get("addressType") == "FQDN":
            continue
        ports = [port for port in part.get("ports") or [] if port.get("port")]
        for endpoint in part.get("endpoints") or []:
            ready = (endpoint.get("conditions") or {}).get("ready", True)
            if ready or faults.dns.headless_not_ready_included:
                for address in endpoint["addresses"]:
                    label = endpoint.get("hostname") or address.replace(".", "-").replace(":", "-")
                    found.append((f"{label}.{name}".lower(), address, ports))
    return found


def _port_name(port: str, protocol: str, name: str) -> str:
    # Stored without underscores: the lookup strips them, since CoreDNS answers both spellings.
    return f"{port}.{protocol}.{name}".lower()


def _family(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def reverse(address: str) -> str:
    """The name below in-addr.arpa or ip6.arpa, without the final dot."""
    return ipaddress.ip_address(address).reverse_pointer


def _unique(records: list[Record]) -> list[Record]:
    return list(dict.fromkeys(records))
