"""What users get wrong: a lab with one of these faults makes the mistake in their place, when an object is created."""

from __future__ import annotations

from typing import Any

from kubereach_lab.faults import Faults

Object = dict[str, Any]

#: of the cluster itself, whose objects are in order
_SYSTEM = "kube-system"
#: a port that nothing in a pod listens on
_NOBODYS_PORT = 9


def in_service(service: Object, faults: Faults) -> None:
    """workload.wrong-label and workload.wrong-port, in place: of NodePort Services alone."""
    spec = service["spec"]
    if spec.get("type") != "NodePort":
        return
    if faults.workload.wrong_label and spec.get("selector"):
        spec["selector"] = {key: f"{value}-v2" for key, value in spec["selector"].items()}
    if faults.workload.wrong_port:
        for port in spec["ports"]:
            port["targetPort"] = _NOBODYS_PORT


def in_pod(pod: Object, faults: Faults) -> None:
    """workload.sidecar-injected, in place: a container more, before the others, that waits for its end."""
    if not faults.workload.sidecar_injected or pod["metadata"].get("namespace") == _SYSTEM:
        return
    first = pod["spec"]["containers"][0]
    sidecar = {
        "name": "istio-proxy",
        "image": first["image"],
        "command": ["python3", "-c", "import signal as s; s.signal(s.SIGTERM, lambda *_: exit()); s.pause()"],
    }
    security = {"securityContext": first["securityContext"]} if "securityContext" in first else {}
    pod["spec"]["containers"] = [{**sidecar, **security}, *pod["spec"]["containers"]]


def in_command(namespace: str, argv: list[str], faults: Faults) -> list[str]:
    """workload.crash-loop: the command that a container of this namespace runs in place of its own."""
    return ["false"] if faults.workload.crash_loop and namespace != _SYSTEM else argv


def in_image(namespace: str, image: str, faults: Faults) -> str:
    """workload.image-missing: the image that a container of this namespace asks for; .invalid has no registries."""
    missing = faults.workload.image_missing and namespace != _SYSTEM
    return f"registry.invalid/{image}" if missing else image
