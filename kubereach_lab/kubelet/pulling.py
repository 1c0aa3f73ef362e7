"""Having a container's image, or saying why not.

Source: https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kubereach_lab import mistakes
from kubereach_lab.kubelet.images import ImageError, entry_point, pull_failure

if TYPE_CHECKING:
    from kubereach_lab.kubelet.container import Container

#: how long a state lasts that a kubelet shows until it looks at the pod again, in seconds
NEXT_LOOK = 0.2


def pull(container: Container) -> tuple[str, list[str]]:
    """The program of the lab's own, or "", and the command line that stand for the image. Raises ImageError."""
    spec = container.spec
    config, namespace = container.worker.kubelet.config, container.worker.pod["metadata"]["namespace"]
    image = mistakes.in_image(namespace, spec["image"], config.faults)
    policy = spec.get("imagePullPolicy", "IfNotPresent")
    words, args = list(spec.get("command") or []), list(spec.get("args") or [])
    try:
        program, argv = entry_point(image, words, args, config.images)
    except ImageError:
        if policy != "Never":
            container.event("Normal", "Pulling", f'Pulling image "{image}"')
        raise
    if policy == "Always":
        container.event("Normal", "Pulling", f'Pulling image "{image}"')
        text = f'Successfully pulled image "{image}" in 0s (0s including waiting). Image size: 0 bytes.'
    else:
        text = f'Container image "{image}" already present on machine and can be accessed by the pod'
    container.event("Normal", "Pulled", text)
    return program, mistakes.in_command(namespace, argv, config.faults)


async def no_image(container: Container, error: ImageError) -> None:
    """Report that the image cannot be had, and that it will be tried again."""
    kubelet, namespace = container.worker.kubelet, container.worker.pod["metadata"]["namespace"]
    image = mistakes.in_image(namespace, container.spec["image"], kubelet.config.faults)
    if container.spec.get("imagePullPolicy") == "Never":
        text = f'Container image "{image}" is not present with pull policy of Never'
        container.waiting("ErrImageNeverPull", text)
        container.event("Warning", "ErrImageNeverPull", text)
        container.event("Warning", "Failed", "Error: ErrImageNeverPull")
        return
    why = pull_failure(image, kubelet.config.plans[0].outside, kubelet.network.addresses[0]) or str(error)
    container.waiting("ErrImagePull", why)
    container.event("Warning", "Failed", f'Failed to pull image "{image}": {why}')
    container.event("Warning", "Failed", "Error: ErrImagePull")
    await asyncio.sleep(NEXT_LOOK)
    text = f'Back-off pulling image "{image}"'
    container.waiting("ImagePullBackOff", f"{text}: ErrImagePull: {why}")
    container.event("Normal", "BackOff", text)
    container.event("Warning", "Failed", "Error: ImagePullBackOff")
