"""What the process of a container is started with: environment, file system, names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubereach_lab.kubelet import files
from kubereach_lab.kubelet.environment import container_environment
from kubereach_lab.kubelet.service_links import service_links
from kubereach_lab.sandbox import Mount, Sandbox, makes_room

if TYPE_CHECKING:
    from kubereach_lab.kubelet.pod import PodWorker
    from kubereach_lab.kubelet.status import Object

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: options of Python that do not change what a script does
_HARMLESS = ("-u", "-B", "-E", "-s")
#: of a termination message; and of the log that stands for one
_MESSAGE_BYTES = 4096
_LOG_LINES, _LOG_BYTES = 80, 2048


def environment(worker: PodWorker, spec: Object) -> dict[str, str]:
    """A container's environment. Raises MissingReference."""
    kubelet, pod = worker.kubelet, worker.pod
    base = {
        "PATH": _PATH,
        "HOSTNAME": files.host_name(kubelet.config, pod, kubelet.name),
        "HOME": "/",
        **service_links(kubelet.registry, pod),
    }
    known = worker.pod_addresses() | worker.host_addresses()
    with_addresses = pod | {"status": pod.get("status", {}) | known}
    return container_environment(kubelet.registry, with_addresses, spec, base)


def sandbox(worker: PodWorker, spec: Object) -> Sandbox:
    """Network, host name, files and mounts of a container; its file for termination messages is made anew."""
    config, node, pod = worker.kubelet.config, worker.kubelet.name, worker.pod
    mounts = []
    for mount in spec.get("volumeMounts") or []:
        source = worker.volumes[mount["name"]]
        if mount.get("subPath"):
            source = source / mount["subPath"]
        mounts.append(Mount(str(source), mount["mountPath"], bool(mount.get("readOnly"))))
    if makes_room(spec["terminationMessagePath"]):
        last_word = _last_word_path(worker, spec)
        last_word.parent.mkdir(parents=True, exist_ok=True)
        last_word.write_bytes(b"")
        last_word.chmod(0o666)
        mounts.append(Mount(str(last_word), spec["terminationMessagePath"]))
    name = files.host_name(config, pod, node)
    return Sandbox(
        worker.network,
        name,
        {
            "/etc/resolv.conf": files.resolv_conf(config, pod),
            "/etc/hosts": files.hosts(config, pod, node, worker.addresses),
            "/etc/hostname": f"{name}\n",
        },
        tuple(mounts),
    )


def script(worker: PodWorker, spec: Object, argv: Sequence[str]) -> tuple[str, str] | None:
    """For ``python3 [-u] script ...`` with the script in a volume: its path in the container and in the lab.

    A folder's script is its ``__main__.py``.
    """
    if not argv or not Path(argv[0]).name.startswith("python3"):
        return None
    words = [word for word in argv[1:] if not word.startswith("-")]
    if not words or any(word not in _HARMLESS for word in argv[1 : argv.index(words[0])]):
        return None
    path = Path(words[0])
    for mount in spec.get("volumeMounts") or []:
        if path.is_relative_to(mount["mountPath"]) and not mount.get("subPath"):
            source = worker.volumes[mount["name"]] / path.relative_to(mount["mountPath"])
            if source.is_dir():
                path, source = path / "__main__.py", source / "__main__.py"
            return str(path), str(source)
    return None


def _last_word_path(worker: PodWorker, spec: Object) -> Path:
    return worker.folder / "termination" / str(spec["name"])


def last_word(worker: PodWorker, spec: Object, log: Path, code: int) -> str:
    """The termination message: what the container wrote into the file for it, or its log's end."""
    path = _last_word_path(worker, spec)
    text = path.read_bytes()[:_MESSAGE_BYTES] if path.exists() else b""
    if not text and code and spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        lines = log.read_bytes().splitlines() if log.exists() else []
        messages = [line.split(b" ", 3)[3] for line in lines[-_LOG_LINES:]]
        text = b"".join(line + b"\n" for line in messages)[-_LOG_BYTES:]
    return text.decode(errors="replace")
