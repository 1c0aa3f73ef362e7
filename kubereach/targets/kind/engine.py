"""The container engine under kind: docker, or what KIND_EXPERIMENTAL_PROVIDER names. Which one is kind's business."""

from __future__ import annotations

import json
import platform
import re
import shutil
from collections.abc import Mapping
from typing import Any

from kubereach.model.errors import CannotMeasure
from kubereach.targets.kind.commands import Done, run
from kubereach.targets.kind.failures import error_of

#: the variable by which kind is told to use another engine, and the values that it knows
PROVIDER = "KIND_EXPERIMENTAL_PROVIDER"
_PROVIDERS = ("docker", "podman", "nerdctl", "finch", "nerdctl.lima")
#: the order in which kind itself looks for one
_DETECTED = ("docker", "nerdctl", "podman")
#: seconds that an engine may take for a question
_PATIENCE = 60.0


class Engine:
    """The engine's command line. Raises `CannotMeasure` when there is no engine at all."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        named = environment.get(PROVIDER, "")
        wanted = (named,) if named in _PROVIDERS else _DETECTED
        search = environment.get("PATH")
        found = ((name, path) for name in wanted if (path := shutil.which(name, path=search)))
        self.name, self.path = next(found, ("", ""))
        if not self.name:
            raise CannotMeasure(
                f"kind needs a container engine, but {' or '.join(wanted)} is not installed",
                "Install Docker (https://docs.docker.com/engine/install/), or podman or nerdctl and name "
                f"it in {PROVIDER}. The lab needs none: `kubereach run`.",
            )
        self._info: dict[str, Any] = {}

    @property
    def network(self) -> str:
        """The network that kind puts nodes on."""
        return self._environment.get("KIND_EXPERIMENTAL_DOCKER_NETWORK") or "kind"

    @property
    def identity(self) -> str:
        """The same words for the same engine, as far as its client tells."""
        return f"{self.name} {self._endpoint()}".strip()

    def kind_nodes(self, cluster: str) -> list[tuple[str, str]]:
        """(id, time of creation) of the containers that are a kind cluster's nodes. Raises `CannotMeasure`.

        kind knows them by this label too: https://github.com/kubernetes-sigs/kind pkg/cluster/constants
        """
        label = f"label=io.x-k8s.kind.cluster={cluster}"
        done = self._run("ps", "-a", "--no-trunc", "--filter", label, "--format", "{{.ID}}")
        if done.ok and (ids := done.out.split()):
            done = self._run("inspect", "--format", "{{json .}}", *ids)
        if not done.ok:
            raise error_of(done, f"See `{self.name} ps`.")
        found = [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]
        return [(str(one.get("Id")), str(one.get("Created"))) for one in found]

    def check(self) -> None:
        """Ask the engine what it is, as kind does first of all. Raises `CannotMeasure` when it does not answer."""
        done = self._run("info", "--format", "{{json .}}")
        try:
            info = json.loads(done.out)
        except ValueError:
            info = {}
        self._info = info if isinstance(info, dict) else {}
        # older clients end well, and say in what they print that nobody answered
        errors = "\n".join(map(str, self._info.get("ServerErrors") or ()))
        if not done.ok or errors:
            failed = Done(done.words, done.code or 1, "", f"{errors}\n{done.err}")
            raise error_of(failed, f"See `{self.name} info`.")

    def has_image(self, image: str) -> bool:
        """Whether the engine has the image already."""
        return self._run("image", "inspect", "--format", "{{.Id}}", image).ok

    def pull(self, image: str, deadline: float) -> None:
        """Fetch an image. Raises `CannotMeasure`."""
        done = run([self.path, "pull", image], deadline)
        if not done.ok:
            reason = error_of(done, "")
            raise CannotMeasure(
                f"cannot pull the image {image}: {reason.message}",
                "Use --image to name one with Python >= 3.8 that the engine has or can pull.",
            )

    def save(self, image: str, file: str, deadline: float) -> Done:
        """Write an image into an archive."""
        return run([self.path, "save", "-o", file, image], deadline)

    def running(self) -> list[tuple[str, str]]:
        """(image, name) of every running container; none when the engine does not tell."""
        done = self._run("ps", "--format", "{{.Image}}\t{{.Names}}")
        lines = [line.split("\t") for line in done.out.splitlines() if done.ok]
        return [(line[0], line[1]) for line in lines if len(line) == 2]

    def apart(self) -> str:
        """Why containers cannot be reached from this machine by their addresses; empty when nothing says so.

        https://docs.docker.com/desktop/features/networking/#i-cannot-ping-my-containers
        """
        if platform.system() != "Linux":
            return f"on {platform.system().replace('Darwin', 'macOS')} containers run in a virtual machine"
        remote = self._endpoint()
        if re.match(r"(ssh|https?|tcp)://(?!(127\.|localhost|\[::1\]))", remote):
            return f"the container engine is on another machine, {remote}"
        if "Docker Desktop" in str(self._info.get("OperatingSystem", "")):
            return "Docker Desktop runs containers in a virtual machine"
        host = self._info.get("host")
        security = host.get("security", {}) if isinstance(host, dict) else {}
        if "name=rootless" in str(self._info.get("SecurityOptions", "")) or security.get("rootless"):
            return "a rootless container engine has its own network"
        return ""

    def _endpoint(self) -> str:
        if self.name != "docker":
            return self._environment.get("CONTAINER_HOST", "")
        done = self._run("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
        return done.out.strip() if done.ok else self._environment.get("DOCKER_HOST", "")

    def _run(self, *words: str) -> Done:
        return run([self.path, *words], _PATIENCE)
