"""What kind and container engines say when something is wrong, in one line each, with the remedy.

The words are those of kind (pkg/cluster, pkg/cmd) and of docker, podman and nerdctl, of which versions say them
differently; known issues: https://kind.sigs.k8s.io/docs/user/known-issues/
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kubereach.model.errors import CannotMeasure, KubereachError, UsageError
from kubereach.targets.kind.commands import Done

KNOWN_ISSUES = "https://kind.sigs.k8s.io/docs/user/known-issues/"
#: characters of somebody else's words that go into our line
_LONGEST = 240


@dataclass(frozen=True)
class _Known:
    """A failure by its words; `message` may use what `pattern` has captured, and so may `remedy`."""

    pattern: str
    message: str
    remedy: str
    usage: bool = False


_KNOWN = (
    _Known(
        r"no space left on device",
        "the container engine's disk is full",
        "`docker system df` shows the usage, `docker system prune` deletes unused data.",
    ),
    _Known(
        r"permission denied while trying to connect to the docker (?:daemon socket|API)(?: at (\S+?):?(?:\s|$))?",
        "this user is not allowed to connect to the container engine at {0}",
        "Join its group: `sudo usermod -aG docker $USER`, then log in again; or use rootless mode.",
    ),
    _Known(
        r"(?:Cannot connect to the Docker daemon|failed to connect to the docker API)(?: at ([^\s;]+?)[.;]?(?:\s|$))?",
        "the container engine does not answer at {0}",
        "Start it (`sudo systemctl start docker`, or Docker Desktop), or correct DOCKER_HOST or `docker context use`.",
    ),
    _Known(
        r'(?:Cannot connect to (?:the )?Podman|cannot access containerd socket(?: "([^"]+)")?)',
        "the container engine does not answer at {0}",
        "Start it: `podman machine start`, or `sudo systemctl start containerd`.",
    ),
    _Known(
        r"error during connect: (.+)",
        "cannot reach the container engine: {0}",
        "Correct DOCKER_HOST or `docker context use` until `docker info` works.",
    ),
    _Known(
        r'failed to pull image "([^"]+)"',
        "the node image {0} is missing and cannot be pulled: {why}",
        "Correct --kind-image (tags: https://hub.docker.com/r/kindest/node/tags), or load the "
        "image into the engine.",
    ),
    _Known(
        r'node\(s\) already exist for a cluster with the name "([^"]+)"',
        "another process is creating the cluster {0}, or its creation was interrupted",
        "Wait for it, delete it with `kind delete cluster --name {0}`, or choose another --cluster-name.",
    ),
    _Known(
        r"(unable to decode config: .+|unknown apiVersion: \S*|unknown kind \S+ for apiVersion.*|"
        r"error reading file: .+|could not determine kind / apiVersion.*|invalid configuration.*)",
        "kind rejects the configuration: {0}",
        "Correct it: https://kind.sigs.k8s.io/docs/user/configuration/.",
        usage=True,
    ),
    _Known(
        r"((?:Bind for \S+ failed: )?port is already allocated|address already in use)",
        "a port that the cluster needs is in use: {0}",
        "Change hostPort or apiServerPort in --kind-config, or stop the program that uses the port.",
    ),
    _Known(
        r"running kind with rootless provider requires (.+?)(?:, see|$)",
        "a rootless container engine cannot run kind here: it requires {0}",
        "See https://kind.sigs.k8s.io/docs/user/rootless/.",
    ),
    _Known(
        r"(too many open files|could not find a log line that matches|failed to create fsnotify watcher)",
        "the node containers do not start: {0}",
        "Raise the inotify limits first: `sudo sysctl fs.inotify.max_user_instances=512 "
        f"fs.inotify.max_user_watches=524288`; see {KNOWN_ISSUES}.",
    ),
    _Known(
        r"failed to (init node with kubeadm|join node with kubeadm)",
        "Kubernetes does not start on the nodes: failed to {0}",
        f"Check memory, disk space and whether the image fits this kind release; see {KNOWN_ISSUES}.",
    ),
    _Known(
        r"(?:unknown flag|unknown shorthand flag): (\S+)",
        "this kind version is too old: it lacks {0}",
        "Update kind, or name another with --kind-bin.",
    ),
)


def error_of(done: Done, otherwise: str) -> KubereachError:
    """The error that a failed command stands for; `otherwise` is the remedy of one that nobody knows."""
    text = done.output
    for known in _KNOWN:
        match = re.search(known.pattern, text, re.IGNORECASE | re.MULTILINE)
        if match:
            what = next((group for group in match.groups() if group), "")
            words = {"why": _cause(text)}
            message = known.message.format(_short(what), **words).removesuffix(" at ")
            kind = UsageError if known.usage else CannotMeasure
            return kind(message, known.remedy.format(what))
    return CannotMeasure(f"`{done.line}` failed: {_cause(text) or f'exit code {done.code}'}", otherwise)


def _cause(text: str) -> str:
    """The line that says most: of a command that kind ran the last one, else kind's own ``ERROR:``, else the last."""
    _, ran, output = text.partition("Command Output:")
    lines = [line.strip() for line in output.splitlines() if line.strip()] if ran else []
    if lines:
        return _short(re.sub(r"^(Error response from daemon|Error): ", "", lines[-1]))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR:", "error:"))]
    return _short(re.sub(r"^error: ", "", (errors or lines or [""])[-1], flags=re.IGNORECASE))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
