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
        "`docker system df` shows what fills it, `docker system prune` frees what nobody uses.",
    ),
    _Known(
        r"permission denied while trying to connect to the docker (?:daemon socket|API)(?: at (\S+?):?(?:\s|$))?",
        "this user may not speak to the container engine at {0}",
        "Join its group: `sudo usermod -aG docker $USER`, then log in again; or run it rootless.",
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
        "the container engine cannot be reached: {0}",
        "Correct DOCKER_HOST or `docker context use`; `docker info` must work.",
    ),
    _Known(
        r'failed to pull image "([^"]+)"',
        "the node image {0} is not there and cannot be pulled: {why}",
        "Correct --kind-image (tags: https://hub.docker.com/r/kindest/node/tags), or load it into the engine before.",
    ),
    _Known(
        r'node\(s\) already exist for a cluster with the name "([^"]+)"',
        "a cluster {0} is being made by somebody else, or was left half made",
        "Wait for it, or remove it with `kind delete cluster --name {0}`, or choose another --cluster-name.",
    ),
    _Known(
        r"(unable to decode config: .+|unknown apiVersion: \S*|unknown kind \S+ for apiVersion.*|"
        r"error reading file: .+|could not determine kind / apiVersion.*|invalid configuration.*)",
        "kind does not take the configuration: {0}",
        "Correct it: https://kind.sigs.k8s.io/docs/user/configuration/.",
        usage=True,
    ),
    _Known(
        r"((?:Bind for \S+ failed: )?port is already allocated|address already in use)",
        "a port that the cluster needs is taken: {0}",
        "Correct hostPort or apiServerPort in --kind-config, or end what uses it.",
    ),
    _Known(
        r"running kind with rootless provider requires (.+?)(?:, see|$)",
        "a rootless container engine cannot run kind here: it requires {0}",
        "https://kind.sigs.k8s.io/docs/user/rootless/ tells how.",
    ),
    _Known(
        r"(too many open files|could not find a log line that matches|failed to create fsnotify watcher)",
        "the nodes' containers do not come up: {0}",
        "Most often the limits of inotify: `sudo sysctl fs.inotify.max_user_instances=512 "
        f"fs.inotify.max_user_watches=524288`; see {KNOWN_ISSUES}.",
    ),
    _Known(
        r"failed to (init node with kubeadm|join node with kubeadm)",
        "Kubernetes does not come up in the nodes: failed to {0}",
        f"Too little memory or disk, or an image for another kind release; see {KNOWN_ISSUES}.",
    ),
    _Known(
        r"(?:unknown flag|unknown shorthand flag): (\S+)",
        "the kind that is used is too old: it has no {0}",
        "Update it, or name another with --kind-bin.",
    ),
)


def told(done: Done, otherwise: str) -> KubereachError:
    """The error that a failed command stands for; `otherwise` is the remedy of one that nobody knows."""
    text = done.said
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
