"""Manifests: YAML files with a few variables, rendered for one run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import jinja2
import yaml

from kubereach.kube.client import KINDS, Object
from kubereach.model.errors import UsageError

MANAGED_BY = "app.kubernetes.io/managed-by"
RUN = "kubereach.io/run"
#: the container of ours in each of our pods; others are somebody else's
CONTAINER = "peer"
#: applied before all others, in this order: what the others need to exist
FIRST = ("namespaces.yaml", "peer.yaml")
BASE = ("backend.yaml", "client.yaml", "other-client.yaml", "node.yaml")

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEMPLATES = jinja2.Environment(
    undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True
)


@dataclass(frozen=True)
class Manifest:
    """An object to apply, and where it was written down: file and number of the document, counted from 1."""

    obj: Object
    file: Path
    number: int

    def __str__(self) -> str:
        return f"{self.file}, document {self.number}"

    @property
    def kind(self) -> str:
        return str(self.obj["kind"])

    @property
    def place(self) -> tuple[str, str]:
        """Namespace and name."""
        return str(self.obj["metadata"].get("namespace", "")), str(self.obj["metadata"]["name"])


def render(file: Path, variables: Mapping[str, object], labels: Mapping[str, str]) -> list[Manifest]:
    """The objects of a file: variables filled in, `labels` on every object and pod template.

    An object that names no namespace gets the variable ``namespace``. Raises `UsageError` naming file and document.
    """
    try:
        text = _template(file.read_text(encoding="utf-8")).render(variables)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", "Each fixture of a check needs a manifest.") from error
    except jinja2.TemplateError as error:
        line = f", line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        raise UsageError(f"{file}{line}: {error.message}", f"Variables: {', '.join(variables)}.") from error
    return [
        Manifest(_complete(document, f"{file}, document {number}", variables, labels), file, number)
        for number, document in enumerate(_documents(file, text), 1)
    ]


def preload(folder: Path) -> None:
    """Compile all templates of a folder now, for a process that is going to fork."""
    for file in folder.rglob("*.yaml"):
        with contextlib.suppress(jinja2.TemplateError):
            _template(file.read_text(encoding="utf-8"))


@cache
def _template(text: str) -> jinja2.Template:
    # most files are rendered by several checks, and compiling one takes as long as ten renderings
    return _TEMPLATES.from_string(text)


def pod_spec(obj: Object) -> Object | None:
    """The spec of the pods that an object is, or makes; None if it makes none. The object's own, to be changed."""
    if obj["kind"] == "Pod":
        return cast("Object", obj["spec"])
    template = (obj.get("spec") or {}).get("template")
    return cast("Object", template["spec"]) if isinstance(template, dict) else None


def pod_metadata(obj: Object) -> Object:
    """The metadata of the pods that an object is, or makes. The object's own, to be changed."""
    meta = obj["metadata"] if obj["kind"] == "Pod" else obj["spec"]["template"].setdefault("metadata", {})
    return cast("Object", meta)


def _documents(file: Path, text: str) -> list[object]:
    try:
        return [document for document in yaml.load_all(text, _LOADER) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        number = text[: mark.index].count("\n---") + 1 if mark and mark.index is not None else 1
        problem = getattr(error, "problem", None) or str(error)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{file}, document {number}{line}: {problem}", "Correct the YAML.") from error


def _complete(
    document: object, where: str, variables: Mapping[str, object], labels: Mapping[str, str]
) -> Object:
    if not isinstance(document, dict):
        raise UsageError(f"{where}: not an object", "A manifest has apiVersion, kind, metadata and spec.")
    for key in ("apiVersion", "kind", "metadata"):
        if not document.get(key):
            raise UsageError(f"{where}: no {key}", "A manifest has apiVersion, kind, metadata and spec.")
    kind = (str(document["apiVersion"]), str(document["kind"]))
    if kind not in KINDS:
        known = ", ".join(sorted(name for _, name in KINDS))
        raise UsageError(f"{where}: kubereach does not apply {kind[1]} of {kind[0]}", f"Kinds: {known}.")
    meta = document["metadata"]
    if not isinstance(meta, dict) or not meta.get("name"):
        raise UsageError(f"{where}: no metadata.name", "Every object needs a name.")
    if kind[1] != "Namespace":
        meta.setdefault("namespace", variables["namespace"])
    meta["labels"] = {**(meta.get("labels") or {}), **labels}
    template = (document.get("spec") or {}).get("template")
    if isinstance(template, dict):
        inner = template.setdefault("metadata", {})
        inner["labels"] = {**(inner.get("labels") or {}), **labels}
    return document
