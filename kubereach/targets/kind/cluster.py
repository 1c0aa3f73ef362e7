"""pytest-kind's `KindCluster`, with a current kind, and with an error of one line for whatever goes wrong."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pytest_kind.cluster import KindCluster

from kubereach.model.errors import CannotMeasure
from kubereach.targets.kind.commands import Done, run
from kubereach.targets.kind.config import Record
from kubereach.targets.kind.engine import Engine
from kubereach.targets.kind.failures import error_of
from kubereach.targets.kind.options import KindChoice

#: downloaded where none is on PATH, unless KIND_VERSION and KUBECTL_VERSION say otherwise; kind v0.33.0 makes
#: clusters of Kubernetes v1.37.0: https://github.com/kubernetes-sigs/kind/releases
KIND_VERSION, KUBECTL_VERSION = "v0.33.0", "v1.37.0"
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
#: seconds for what only asks or tells
_PATIENCE = 60.0


class Cluster(KindCluster):  # type: ignore[misc]
    """A kind cluster of this name, which is there or not. Paths and downloads are pytest-kind's: .pytest-kind/NAME.

    Raises `CannotMeasure` when that folder cannot be made.
    """

    def __init__(self, choice: KindChoice, deadline: float, environment: Mapping[str, str]) -> None:
        search = environment.get("PATH")
        self._deadline = deadline
        self._versions = (
            environment.get("KIND_VERSION") or KIND_VERSION,
            environment.get("KUBECTL_VERSION") or KUBECTL_VERSION,
        )
        folder = Path(".pytest-kind").absolute() / choice.name
        found = {
            "kind_path": choice.kind or _which("kind", search) or folder / f"kind-{self._versions[0]}",
            "kubectl_path": choice.kubectl
            or _which("kubectl", search)
            or folder / f"kubectl-{self._versions[1]}",
        }
        try:
            super().__init__(choice.name, choice.kubeconfig, choice.image, **found)
            self.path = folder
            self.kubeconfig_path: Path = choice.kubeconfig or folder / "kubeconfig"
            self.kubeconfig_path.parent.mkdir(parents=True, exist_ok=True)
            self.kubeconfig_path.touch(0o600, exist_ok=True)
        except OSError as error:
            raise CannotMeasure(
                f"{error.filename or folder}: {error.strerror}",
                "kind's kubeconfig and downloads are stored in the working folder: start kubereach in a "
                "writable one.",
            ) from error
        self._own_kubeconfig = choice.kubeconfig is None
        self.record = Record(folder / "made-with.yaml", self.context)

    @property
    def files(self) -> list[Path]:
        """What goes with the cluster: what it was made with, and its kubeconfig if the user has named none."""
        return [self.record.file, *([self.kubeconfig_path] if self._own_kubeconfig else [])]

    @property
    def context(self) -> str:
        """The name of the cluster's context, as kind gives it."""
        return f"kind-{self.name}"

    def ensure_kind(self) -> None:
        """Download kind where there is none. Raises `CannotMeasure`."""
        arch = _ARCHITECTURES.get(platform.machine().lower(), "amd64")
        url = f"https://github.com/kubernetes-sigs/kind/releases/download/{self._versions[0]}/kind-{self.platform}-{arch}"
        with _download("kind", "--kind-bin", "KIND_DOWNLOAD_URL", url):
            super().ensure_kind()

    def ensure_kubectl(self) -> None:
        """Download kubectl where there is none. Raises `CannotMeasure`."""
        arch = _ARCHITECTURES.get(platform.machine().lower(), "amd64")
        url = f"https://dl.k8s.io/release/{self._versions[1]}/bin/{self.platform}/{arch}/kubectl"
        with _download("kubectl", "--kind-kubectl-bin", "KUBECTL_DOWNLOAD_URL", url):
            super().ensure_kubectl()

    def version(self) -> str:
        """``kind v0.33.0``."""
        done = self._kind("version")
        return " ".join(done.out.split()[:2]) if done.ok else "unknown kind version"

    def exists(self) -> bool:
        """Whether kind knows a cluster of this name. Raises `CannotMeasure`."""
        done = self._kind("get", "clusters")
        if not done.ok:
            raise error_of(done, "See `kind get clusters`.")
        return self.name in done.out.split()

    def create(
        self, config: dict[str, Any], on_line: Callable[[str], None], meanwhile: Callable[[], None]
    ) -> None:
        """Make the cluster; `heard` gets kind's lines, `meanwhile` is called all the time. Raises `KubereachError`."""
        file = self.path / "config.yaml"
        file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        words = ["create", "cluster", f"--name={self.name}", f"--kubeconfig={self.kubeconfig_path}"]
        words += [f"--image={self.image}"] if self.image else []
        command = [str(self.kind_path), *words, f"--config={file}"]
        done = run(command, self._deadline, on_line, meanwhile, outlives=False)
        if not done.ok:
            raise error_of(done, f"Run `kind create cluster --config {file} --retain -v 1` for details.")
        self.record.write(self.kubeconfig_path, config, self.image)

    def export_kubeconfig(self) -> Done:
        """Write the kubeconfig of a cluster that is there."""
        return self._kind(
            "export", "kubeconfig", f"--name={self.name}", f"--kubeconfig={self.kubeconfig_path}"
        )

    def node_containers(self) -> list[str]:
        """The names of the nodes' containers, whatever state they are in."""
        done = self._kind("get", "nodes", f"--name={self.name}")
        names = done.out.split() if done.ok else []
        # in front of several control planes kind puts a container that is no node
        return [name for name in names if not name.endswith("-external-load-balancer")]

    def ask(self, *words: str, deadline: float = _PATIENCE) -> Done:
        """kubectl on the cluster's context, by pytest-kind; not being answered is no error."""
        try:
            output = self.kubectl(
                f"--context={self.context}", *words, stderr=subprocess.PIPE, timeout=deadline + 10
            )
        except subprocess.CalledProcessError as error:
            return Done(("kubectl", *words), error.returncode or 1, error.stdout or "", error.stderr or "")
        except subprocess.TimeoutExpired:
            return Done(("kubectl", *words), 1, "", f"no answer within {deadline:.0f} s")
        except OSError as error:
            raise CannotMeasure(
                f"cannot start {self.kubectl_path}: {error.strerror}",
                "Name another with --kind-kubectl-bin.",
            ) from error
        return Done(("kubectl", *words), 0, output, "")

    def load_image(self, image: str, engine: Engine) -> Done:
        """Bring an image of the engine's to the nodes: by `kind load docker-image`, of other engines as an archive."""
        if engine.name == "docker":
            return run(
                [str(self.kind_path), "load", "docker-image", f"--name={self.name}", image], self._deadline
            )
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/image.tar"
            saved = engine.save(image, file, self._deadline)
            words = [str(self.kind_path), "load", "image-archive", f"--name={self.name}", file]
            return run(words, self._deadline) if saved.ok else saved

    def export_logs(self, folder: Path) -> Done:
        return run(
            [str(self.kind_path), "export", "logs", f"--name={self.name}", str(folder)], self._deadline
        )

    def delete(self) -> None:
        """Delete the cluster, and the kubeconfig if it is ours. Raises `CannotMeasure`."""
        remedy = f"`kind delete cluster --name {self.name}`"
        words = ["delete", "cluster", f"--name={self.name}", f"--kubeconfig={self.kubeconfig_path}"]
        try:
            done = self._kind(*words)
        except KeyboardInterrupt:
            raise CannotMeasure(
                f"interrupted during the deletion of the kind cluster {self.name}", remedy
            ) from None
        if not done.ok:
            raise CannotMeasure(
                f"cannot delete the kind cluster {self.name}: {error_of(done, '').message}", remedy
            )
        for file in self.files:
            file.unlink(missing_ok=True)

    def _kind(self, *words: str) -> Done:
        return run([str(self.kind_path), *words], max(_PATIENCE, self._deadline / 5))


def _which(name: str, search: str | None) -> Path | None:
    found = shutil.which(name, path=search)
    return Path(found).absolute() if found else None


@contextmanager
def _download(what: str, option: str, variable: str, url: str) -> Iterator[None]:
    """pytest-kind downloads from what `variable` says: our address, unless the user has set one."""
    given = os.environ.get(variable)
    os.environ[variable] = given or url
    try:
        yield
    except OSError as error:  # as are all errors of requests
        reason = str(error).split("(Caused by")[0].strip()
        raise CannotMeasure(
            f"{what} is not in PATH, and downloading {os.environ[variable]} failed: {reason[:200]}",
            f"Install {what}, name one with {option}, or set {variable} to a mirror.",
        ) from error
    finally:
        if given is None:
            del os.environ[variable]
