"""What an image means in a lab, which has none: the programs of this machine.

An image is a name. A container that says its command gets that command from the machine; an image's own entry point
is known only for the lab's DNS server, for pause, and for the images that the lab was told a command for.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

#: top-level domains that no registry can have (RFC 2606, RFC 6761)
_NOWHERE = ("invalid", "example", "test")

DNS_IMAGE = "registry.k8s.io/coredns/coredns:v1.14.2"
_PAUSE = "registry.k8s.io/pause"
#: the ports that Linux gives to clients
_EPHEMERAL = (32768, 60999)


class ImageError(Exception):
    """The image cannot be had; the text says why, as the kubelet does."""


def without_tag(image: str) -> str:
    """An image's name without tag and digest: ``localhost:5000/a/b:1@sha256:...`` is ``localhost:5000/a/b``."""
    name = image.split("@")[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.split(':')[0]}"


def entry_point(
    image: str, command: list[str], args: list[str], known: Mapping[str, Sequence[str]]
) -> tuple[str, list[str]]:
    """(name of a program of the lab's own or "", argv) of a container.

    `known` is `LabConfig.images`; an entry with the tag goes before one without.

    Raises:
        ImageError: nothing in the lab can stand for the image.
    """
    stand_in = known.get(image) or known.get(without_tag(image))
    if stand_in:
        return "", [*(command or stand_in), *args]
    if _host(image).rsplit(".", 1)[-1] in _NOWHERE:
        raise ImageError(f"{_host(image)}: no such registry")
    if command:
        return "", [*command, *args]
    if image == DNS_IMAGE:
        return "dns", ["coredns", *args]
    if without_tag(image) == _PAUSE:
        return "", ["sleep", "infinity"]
    raise ImageError(
        f'cannot pull image "{image}": a lab has no images; give the container a command that this machine has, '
        "such as python3 or sh, or start the lab with --image NAME=COMMAND"
    )


def pull_failure(image: str, resolver: str, node: str) -> str:
    """What pulling from a registry that does not exist comes to, in the container runtime's words; "" of others.

    Nobody at the node's resolver answers for names outside of the cluster.
    """
    host = _host(image)
    if host.rsplit(".", 1)[-1] not in _NOWHERE:
        return ""
    name = without_tag(image)
    repository, tag = name.partition("/")[2], image[len(name) :].lstrip(":@") or "latest"
    port = random.randint(*_EPHEMERAL)
    why = f"lookup {host} on {resolver}:53: read udp {node}:{port}->{resolver}:53: i/o timeout"
    request = f'Head "https://{image.split("/")[0]}/v2/{repository}/manifests/{tag}": dial tcp: {why}'
    return (
        f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": '
        f"failed to do request: {request}"
    )


def _host(image: str) -> str:
    return image.split("/")[0].split(":")[0] if "/" in image else ""
