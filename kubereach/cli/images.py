"""`kubereach images`: what the nodes of a cluster must be able to pull, for mirrors and clusters without a way out."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from kubereach.model.settings import Settings
from kubereach.world.manifests import BASE, pod_spec, render

#: variables whose values make no difference to images
_ANY = {
    "nonce": "x",
    "secret": "x",
    "run": "x",
    "domain": "cluster.local",
    "ip_version": 4,
    "dns": "192.0.2.53",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Lists the container images of a run's pods, one per line."
    parser.add_argument("--image", metavar="IMAGE", help="see `kubereach run --help`")
    parser.add_argument(
        "--json", action="store_true", help="print JSON: each image with the workloads that use it"
    )


def main(arguments: argparse.Namespace, say: Callable[[str], None], manifests: Path) -> int:
    """Print the images. Raises `UsageError` for a manifest that is malformed."""
    settings = Settings().overridden([f"image={arguments.image}"] if arguments.image else [])
    found = images(manifests, settings)
    if arguments.json:
        say(json.dumps([{"image": image, "pods": pods} for image, pods in found.items()], indent=1))
    else:
        for image in found:
            say(image)
    return 0


def images(manifests: Path, settings: Settings) -> dict[str, list[str]]:
    """The images of the pods that a run begins with, and the names of those pods' workloads."""
    found: dict[str, list[str]] = {}
    variables = {
        **_ANY,
        "namespace": "a",
        "other_namespace": "b",
        "node_listener": 0,
        "node_namespace": "n",
        "image": settings.image,
    }
    for file in _files(manifests):
        for manifest in render(file, variables, {}):
            spec = pod_spec(manifest.obj) or {}
            for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
                name = f"{manifest.kind}/{manifest.obj['metadata']['name']}"
                pods = found.setdefault(str(container["image"]), [])
                if name not in pods:
                    pods.append(name)
    return found


def _files(manifests: Path) -> Iterable[Path]:
    yield from (manifests / name for name in BASE)
    yield from sorted((manifests / "services").glob("*.yaml"))
