"""Overlays: what providers of load balancers understand in annotations, and what must come of it.

manifests/overlays/PROVIDER.yaml is a list of cases, each with a ``name``, an ``outcome``, ``annotations`` and further
fields of ``spec``. Values in double braces come from ``--lb-value NAME=VALUE``; ``free`` is an address that the load
balancer has just taken back.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jinja2
import yaml
from jinja2 import meta

from kubereach.model.errors import UsageError

if TYPE_CHECKING:
    from kubereach.world.world import World

#: what must come of a case: the address that was asked for, a private one, TLS, or just an answer
ASKED, INTERNAL, ENDS_TLS, ANSWERS = "asked", "internal", "tls", "answers"
OUTCOMES = (ASKED, INTERNAL, ENDS_TLS, ANSWERS)
#: those that show that the annotation was obeyed: an answer would come without it too
JUDGED = frozenset({ASKED, INTERNAL, ENDS_TLS})


@dataclass(frozen=True)
class Case:
    """One set of annotations, with what must come of it. `missing` are values that nobody has given."""

    name: str
    outcome: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    #: the address asked for, or the name that the certificate must be for
    wanted: str = ""
    missing: tuple[str, ...] = ()


def providers(world: World) -> list[str]:
    """The providers that there is an overlay for."""
    return sorted(file.stem for file in (world.manifests.folder / "overlays").glob("*.yaml"))


def read(world: World, free: str = "") -> list[Case]:
    """The cases of the provider that --lb-provider names. Raises `UsageError` for an unknown or malformed one."""
    settings = world.context.settings
    file = world.manifests.folder / "overlays" / f"{settings.lb_provider}.yaml"
    if not file.exists():
        raise UsageError(
            f"--lb-provider {settings.lb_provider}: unknown provider",
            f"Providers: {', '.join(providers(world))}.",
        )
    values = {"free": free} if free else {}
    for pair in settings.lb_values:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError("--lb-value: not of the form NAME=VALUE", f"See {file}.")
        values[name.strip().replace("-", "_")] = value
    found = []
    for case in yaml.safe_load(file.read_text(encoding="utf-8")):
        if case.get("outcome") not in OUTCOMES or not case.get("name"):
            raise UsageError(f"{file}: a case without name or outcome", f"Outcomes: {', '.join(OUTCOMES)}.")
        found.append(_filled(case, values))
    return found


def _filled(case: Mapping[str, Any], values: Mapping[str, str]) -> Case:
    """A case with its values; those that are not there are noted."""
    environment = jinja2.Environment(autoescape=False)
    named: set[str] = set()

    def fill(part: Any) -> Any:
        """Text by text, for a value may have in it what means something to YAML: quotes, line breaks, colons."""
        if isinstance(part, Mapping):
            return {key: fill(value) for key, value in part.items()}
        if isinstance(part, list):
            return [fill(value) for value in part]
        if not isinstance(part, str):
            return part
        named.update(meta.find_undeclared_variables(environment.parse(part)))
        return environment.from_string(part).render(values)

    whole = fill(case)
    missing = named - values.keys()
    annotations = {str(key): str(value) for key, value in (whole.get("annotations") or {}).items()}
    spec = {"type": "LoadBalancer", **(whole.get("spec") or {})}
    wanted = str(whole.get("wanted", ""))
    return Case(whole["name"], whole["outcome"], annotations, spec, wanted, tuple(sorted(missing)))


def is_private(host: str) -> bool:
    """Whether a load balancer's address is one of a private range; AWS calls internal ones so in their names."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host.startswith("internal-")
