"""Columns of Services and of what leads to them or away from them."""

from __future__ import annotations

from typing import Any

from kubereach_lab.kubectl.columns.cells import (
    AGE,
    NAME,
    NONE,
    SELECTOR,
    Column,
    Printer,
    age,
    joined,
    selector_cell,
    shortened,
)
from kubereach_lab.status import Object


def _external_ip(service: Object) -> str:
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return str(spec.get("externalName", NONE))
    external: list[str] = list(spec.get("externalIPs") or ())
    if spec["type"] == "LoadBalancer":
        ingresses = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
        external = [i.get("ip") or i.get("hostname", "") for i in ingresses] + external
        return ",".join(external) or "<pending>"
    return joined(external)


def _service(service: Object) -> list[Any]:
    spec = service["spec"]
    ports = [
        f"{p['port']}:{p['nodePort']}/{p['protocol']}"
        if p.get("nodePort")
        else f"{p['port']}/{p['protocol']}"
        for p in spec.get("ports") or ()
    ]
    return [
        service["metadata"]["name"],
        spec["type"],
        spec.get("clusterIP") or NONE,
        _external_ip(service),
        joined(ports),
        age(service),
        selector_cell({"matchLabels": spec.get("selector") or {}}),
    ]


def _endpoints(obj: Object) -> list[Any]:
    pairs: list[str] = []
    for subset in obj.get("subsets") or ():
        ports = subset.get("ports") or ()
        for address in subset.get("addresses") or ():
            pairs += [f"{address['ip']}:{port['port']}" for port in ports] if ports else [address["ip"]]
    return [obj["metadata"]["name"], shortened(pairs, 3) or NONE, age(obj)]


def _endpointslice(obj: Object) -> list[Any]:
    ports = [str(port["port"]) if port.get("port") else "*" for port in obj.get("ports") or ()]
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint["addresses"]]
    return [
        obj["metadata"]["name"],
        obj.get("addressType", ""),
        shortened(ports, 3) or "<unset>",
        shortened(addresses, 3) or "<unset>",
        age(obj),
    ]


def _ingress(obj: Object) -> list[Any]:
    spec = obj["spec"]
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    ingresses = (obj.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
    return [
        obj["metadata"]["name"],
        spec.get("ingressClassName") or NONE,
        shortened(hosts, 3) or "*",
        ",".join(i.get("ip") or i.get("hostname", "") for i in ingresses),
        "80, 443" if spec.get("tls") else "80",
        age(obj),
    ]


COLUMNS: dict[str, Printer] = {
    "services": Printer(
        (
            NAME,
            Column("Type"),
            Column("Cluster-IP"),
            Column("External-IP"),
            Column("Port(s)"),
            AGE,
            SELECTOR,
        ),
        _service,
    ),
    "endpoints": Printer((NAME, Column("Endpoints"), AGE), _endpoints),
    "endpointslices": Printer(
        (NAME, Column("AddressType"), Column("Ports"), Column("Endpoints"), AGE), _endpointslice
    ),
    "networkpolicies": Printer(
        (NAME, Column("Pod-Selector"), AGE),
        lambda obj: [obj["metadata"]["name"], selector_cell(obj["spec"].get("podSelector")), age(obj)],
    ),
    "ingresses": Printer(
        (NAME, Column("Class"), Column("Hosts"), Column("Address"), Column("Ports"), AGE), _ingress
    ),
    "ingressclasses": Printer(
        (NAME, Column("Controller"), Column("Parameters"), AGE),
        lambda obj: [obj["metadata"]["name"], obj["spec"].get("controller", ""), NONE, age(obj)],
    ),
    "servicecidrs": Printer(
        (NAME, Column("CIDRs"), AGE),
        lambda obj: [obj["metadata"]["name"], ",".join(obj["spec"]["cidrs"]), age(obj)],
    ),
}
