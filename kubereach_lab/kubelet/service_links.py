"""Services as environment variables, for those that are there when a container starts.

Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""

from __future__ import annotations

from typing import Any

from kubereach_lab.registry import Registry

Object = dict[str, Any]


def service_links(registry: Registry, pod: Object) -> dict[str, str]:
    """The variables of the API server's own Service, and unless `enableServiceLinks` is false of those beside the pod.

    Headless Services and those without a cluster IP have none.
    """
    namespace = pod["metadata"]["namespace"]
    found = {}
    own = registry.find("services", "default", "kubernetes")
    if own is not None:
        found["kubernetes"] = own
    if pod["spec"].get("enableServiceLinks", True):
        found |= {service["metadata"]["name"]: service for service in registry.list("services", namespace)}
    variables: dict[str, str] = {}
    for name, service in found.items():
        if service["spec"].get("clusterIP", "None") not in ("", "None") and service["spec"].get("ports"):
            variables |= _variables(_variable(name), service["spec"])
    return variables


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")


def _variables(prefix: str, spec: Object) -> dict[str, str]:
    address, ports = spec["clusterIP"], spec["ports"]
    variables = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            variables[f"{prefix}_SERVICE_PORT_{_variable(port['name'])}"] = str(port["port"])
    for place, port in enumerate(ports):
        number, protocol = str(port["port"]), port.get("protocol", "TCP")
        host = f"[{address}]" if ":" in address else address
        url = f"{protocol.lower()}://{host}:{number}"
        if place == 0:
            variables[f"{prefix}_PORT"] = url
        of_port = f"{prefix}_PORT_{number}_{protocol}"
        variables |= {
            of_port: url,
            f"{of_port}_PROTO": protocol.lower(),
            f"{of_port}_PORT": number,
            f"{of_port}_ADDR": address,
        }
    return variables
