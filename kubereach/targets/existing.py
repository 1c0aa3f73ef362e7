"""A cluster that exists already: a context of a kubeconfig. What is wrong with it is said before connecting.

The format and the rules of merging are those of kubectl:
https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kubereach.kube.access import ClusterAccess
from kubereach.model.errors import CannotMeasure, UsageError
from kubereach.targets.yaml_file import mapping_in

#: where a pod finds its service account
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_Entry = tuple[dict[str, Any], Path]


class ExistingTarget:
    """A context of the kubeconfig; without one the current context; in a pod its service account, as for kubectl."""

    name = "existing"

    def __init__(
        self, kubeconfig: Path | None, context: str | None, environment: Mapping[str, str] = os.environ
    ) -> None:
        self._given = kubeconfig
        self._context = context
        self._environment = environment

    def open(self) -> ClusterAccess:
        """Check the kubeconfig and hand it out.

        Raises `UsageError` for a missing or malformed file, an unknown context and dangling references, and
        `CannotMeasure` when the plugin that gets the credentials is not installed.
        """
        if access := self._service_account():
            return access
        files = self._files()
        documents = [(_read(file), file) for file in files]
        contexts = _named(documents, "contexts")
        name = self._context or next((c for d, _ in documents if (c := d.get("current-context"))), None)
        listed = f"Contexts: {', '.join(contexts)}." if contexts else "It contains no contexts."
        where = os.pathsep.join(map(str, files))
        if not name:
            raise UsageError(f"{where}: no current context", f"Name one with --context. {listed}")
        if name not in contexts:
            raise UsageError(f"{where}: no context {name}", listed)
        server = self._check(str(name), contexts, documents)
        # several files are merged by the client itself, which looks into $KUBECONFIG as we did
        return ClusterAccess(files[0] if len(files) == 1 else None, str(name), f"context {name} ({server})")

    def watch(self, lost: Callable[[str], None]) -> None:
        """Not ours to watch: an API that is gone shows in the requests to it."""

    def close(self) -> None:
        """Nothing was started."""

    def _service_account(self) -> ClusterAccess | None:
        """The way in from a pod, where nothing names a kubeconfig and there is none."""
        host, port = (self._environment.get(f"KUBERNETES_SERVICE_{word}", "") for word in ("HOST", "PORT"))
        named = self._given or self._context or self._environment.get("KUBECONFIG")
        if named or not (host and port and (SERVICE_ACCOUNT / "token").exists()) or self._default().exists():
            return None
        words = f"the cluster of this pod (https://{host}:{port})"
        return ClusterAccess(
            None,
            None,
            words,
            service_account=SERVICE_ACCOUNT,
            server=f"{host}:{port}",
            no_outside="kubereach runs in a pod of the cluster, not outside of it; --outside-via adds an "
            "outside vantage",
        )

    def _default(self) -> Path:
        return Path(self._environment.get("HOME", "~")).expanduser() / ".kube/config"

    def _files(self) -> list[Path]:
        variable = self._environment.get("KUBECONFIG", "")
        if self._given:
            files, origin = [self._given], "--kubeconfig"
        elif variable:
            files, origin = [Path(p).expanduser() for p in variable.split(os.pathsep) if p], "$KUBECONFIG"
        else:
            files, origin = [self._default()], "default path"
        present = [file for file in files if file.exists()]
        if not present:
            raise UsageError(
                f"no kubeconfig at {', '.join(map(str, files))} ({origin})",
                "Name a file with --kubeconfig, or leave out --context and --kubeconfig to use the lab.",
            )
        return present

    def _check(self, name: str, contexts: dict[str, _Entry], documents: list[_Entry]) -> str:
        """Follow a context's references; returns the API server's address."""
        context, file = contexts[name]
        settings = context.get("context") or {}
        clusters, users = _named(documents, "clusters"), _named(documents, "users")
        for kind, known in (("cluster", clusters), ("user", users)):
            if settings.get(kind) not in known:
                wanted = settings.get(kind)
                raise UsageError(
                    f"{file}: context {name} names the {kind} {wanted}, which does not exist"
                    if wanted
                    else f"{file}: context {name} names no {kind}",
                    f"Known: {', '.join(known) or 'none'}.",
                )
        cluster, cluster_file = clusters[settings["cluster"]]
        user, user_file = users[settings["user"]]
        server = (cluster.get("cluster") or {}).get("server")
        if not server:
            raise UsageError(
                f"{cluster_file}: cluster {settings['cluster']} has no server",
                "Add the address of the API server.",
            )
        _files_exist(cluster.get("cluster") or {}, cluster_file, ("certificate-authority",))
        _files_exist(user.get("user") or {}, user_file, ("client-certificate", "client-key", "tokenFile"))
        _plugin_exists((user.get("user") or {}).get("exec"), name, user_file)
        return str(server)


def _read(file: Path) -> dict[str, Any]:
    content = mapping_in(
        file,
        "a kubeconfig",
        unreadable="Name a readable kubeconfig with --kubeconfig.",
        malformed="See `kubectl config view`.",
    )
    if content is None or not all(
        isinstance(content.get(kind) or [], list) for kind in ("contexts", "clusters", "users")
    ):
        raise UsageError(
            f"{file}: not a kubeconfig", "A kubeconfig is a mapping with clusters, users and contexts."
        )
    return content


def _named(documents: list[_Entry], kind: str) -> dict[str, _Entry]:
    """The entries of one kind by name; the first file that sets a name wins."""
    found: dict[str, _Entry] = {}
    for document, file in documents:
        for entry in document.get(kind) or []:
            if isinstance(entry, dict) and "name" in entry:
                found.setdefault(str(entry["name"]), (entry, file))
    return found


def _files_exist(entry: dict[str, Any], file: Path, keys: tuple[str, ...]) -> None:
    for key in keys:
        if entry.get(key) and not (file.parent / str(entry[key])).exists():
            raise UsageError(
                f"{file}: {key} {entry[key]} does not exist",
                "Correct the path; it is relative to the folder of the kubeconfig.",
            )


def _plugin_exists(plugin: dict[str, Any] | None, context: str, file: Path) -> None:
    if not plugin:
        return
    command = str(plugin.get("command") or "")
    # a command with a slash counts from the kubeconfig's folder, any other is looked up in PATH
    found = (file.parent / command).exists() if os.sep in command else shutil.which(command) is not None
    if not found:
        hint = str(plugin.get("installHint") or "").strip()
        raise CannotMeasure(
            f"context {context} uses the credential plugin {command!r}, which is not installed",
            " ".join(hint.split()) or f"Install {command} or add it to PATH.",
        )
