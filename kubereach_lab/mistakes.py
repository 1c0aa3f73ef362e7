"""What users get wrong: a lab with one of these faults makes the mistake in their place, when an object is created."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

Object = dict[str, Any]

#: of the cluster itself, whose objects are in order
_SYSTEM = "kube-system"
#: a port that nothing in a pod listens on
_NOBODYS_PORT = 9


def in_service(service: Object, faults: Collection[str]) -> None:
    """workload.wrong-label and workload.wrong-port, in place: of NodePort Services alone."""
    spec = service["spec"]
    if spec.get("type") != "NodePort":
        return
    if "workload.wrong-label" in faults and spec.get("selector"):
        spec["selector"] = {key: f"{value}-v2" for key, value in spec["selector"].items()}
    if "workload.wrong-port" in faults:
        for port in spec["ports"]:
            port["targetPort"] = _NOBODYS_PORT


def in_pod(pod: Object, faults: Collection[str]) -> None:
    """workload.sidecar-injected, in place: a container more, before the others, that waits for its end."""
    if "workload.sidecar-injected" not in faults or pod["metadata"].get("namespace") == _SYSTEM:
        return
    first = pod["spec"]["containers"][0]
    sidecar = {
        "name": "istio-proxy",
        "image": first["image"],
        "command": ["python3", "-c", "import signal as s; s.signal(s.SIGTERM, lambda *_: exit()); s.pause()"],
    }
    security = {"securityContext": first["securityContext"]} if "securityContext" in first else {}
    pod["spec"]["containers"] = [{**sidecar, **security}, *pod["spec"]["containers"]]


def in_command(namespace: str, argv: list[str], faults: Collection[str]) -> list[str]:
    """workload.crash-loop: the command that a container of this namespace runs in place of its own."""
    return ["false"] if "workload.crash-loop" in faults and namespace != _SYSTEM else argv


def in_image(namespace: str, image: str, faults: Collection[str]) -> str:
    """workload.image-missing: the image that a container of this namespace asks for; .invalid has no registries."""
    missing = "workload.image-missing" in faults and namespace != _SYSTEM
    return f"registry.invalid/{image}" if missing else image
