"""The options of a run, declared once: for pytest's group ``kubereach`` and for ``kubereach run``."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubereach import kind_options
from kubereach.check import FEATURES, LEVELS
from kubereach.errors import UsageError
from kubereach.kind_options import KindChoice
from kubereach.option import Option

if TYPE_CHECKING:
    import pytest

    from kubereach.settings import Settings

TARGETS = ("lab", "kind", "existing")

OPTIONS = (
    Option(
        "target",
        "where the cluster comes from: lab (embedded; the default), kind (made for the run) or existing",
        metavar="TARGET",
    ),
    Option("context", "run on this context of the kubeconfig; implies --target existing", metavar="NAME"),
    Option(
        "kubeconfig",
        "the kubeconfig to use; implies --target existing, and with --target kind is the one that kind writes",
        metavar="FILE",
        shared=True,
    ),
    Option("nodes", "number of nodes of the lab, or of a kind cluster (default 3)", metavar="N"),
    Option("dual-stack", "give the lab, or a kind cluster, both IP families", "flag"),
    Option(
        "ip-family",
        "the lab's IP family, with --dual-stack the first of two: ipv4 (default), ipv6",
        metavar="FAMILY",
    ),
    *kind_options.SHARED,
    *kind_options.OWN,
    Option("fault", "a named defect for the lab to have", "list", "NAME[,..]"),
    Option(
        "proxy-mode",
        "kube-proxy's mode that the lab plays: nftables (default), iptables, ipvs",
        metavar="MODE",
    ),
    Option(
        "kubernetes-version",
        "the version that the lab plays, such as 1.29 (default: 1.36)",
        metavar="VERSION",
    ),
    Option("image", "image of our pods, with Python >= 3.8 as python3", metavar="IMAGE"),
    Option(
        "image-pull-secret", "a Secret to pull that image with; the default namespace's", metavar="[NS/]NAME"
    ),
    Option(
        "namespace",
        "use these namespaces, which exist, instead of making some: one, or two or three for all vantages",
        "list",
        "NAME[,..]",
    ),
    Option("all-nodes", "use every node of a large cluster, not a sample", "flag"),
    Option("check", "run these checks only: ids or globs such as 'dns.*'", "list", "ID[,..]"),
    Option("skip-check", "leave these checks out: ids or globs", "list", "ID[,..]"),
    Option("level", f"run these levels only: {', '.join(LEVELS)}", "list", "LEVEL[,..]"),
    Option(
        "quick", "core checks only, without those that wait for pods of their own or for time-outs", "flag"
    ),
    Option(
        "require",
        f"features that must be there, else the checks fail: {', '.join(FEATURES)}",
        "list",
        "FEATURE[,..]",
    ),
    Option(
        "self-load-balancer",
        "give our LoadBalancer Services addresses of our own: shows what holds inside the cluster",
        "flag",
    ),
    Option(
        "lb-provider", "check the annotations of manifests/overlays/PROVIDER.yaml too", metavar="PROVIDER"
    ),
    Option("lb-value", "a value that an overlay needs, such as a certificate's name", "list", "NAME=VALUE"),
    Option("external-name", "a public name that pods must be able to resolve", metavar="NAME"),
    Option(
        "outside-via",
        "a further outside vantage: a command that starts Python elsewhere, such as 'ssh edge1 python3'",
        "list",
        "CMD",
    ),
    Option("disruptive", "run the checks that disturb nodes or system pods too", "flag"),
    Option("keep", "leave our objects in the cluster after the run", "flag"),
    Option("report-dir", "where report.json goes (default reports/latest)", metavar="DIR"),
    Option("set", "override a time-out or budget: name=value", "list", "NAME=VALUE"),
)


@dataclass(frozen=True)
class RunOptions:
    """The options after parsing and validation."""

    target: str = "lab"
    context: str | None = None
    kubeconfig: Path | None = None
    nodes: int = 3
    dual_stack: bool = False
    #: of the lab; None is its default
    ip_family: str | None = None
    #: of the lab; None is its default
    proxy_mode: str | None = None
    kubernetes_version: str | None = None
    kind: KindChoice = field(default_factory=KindChoice)
    faults: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    skip_checks: tuple[str, ...] = ()
    #: empty: every level but the disruptive one
    levels: tuple[str, ...] = ()
    #: core checks that are not slow
    quick: bool = False
    require: frozenset[str] = field(default_factory=frozenset)
    disruptive: bool = False
    report_dir: Path | None = None
    image: str | None = None
    keep: bool = False
    self_load_balancer: bool = False
    lb_provider: str | None = None
    #: NAME=VALUE
    lb_values: tuple[str, ...] = ()
    external_name: str | None = None
    image_pull_secret: str | None = None
    namespaces: tuple[str, ...] = ()
    all_nodes: bool = False
    #: command lines, as for a shell
    outside_via: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()

    def settings(self) -> Settings:
        """The table of settings with --set, --image and --keep applied. Raises `UsageError`."""
        from kubereach.settings import Settings

        own = [f"image={self.image}"] if self.image else []
        own += ["keep=true"] if self.keep else []
        own += ["self_load_balancer=true"] if self.self_load_balancer else []
        own += [f"lb_provider={self.lb_provider}"] if self.lb_provider else []
        own += [f"lb_values={';'.join(self.lb_values)}"] if self.lb_values else []
        own += [f"external_name={self.external_name}"] if self.external_name else []
        own += [f"image_pull_secret={self.image_pull_secret}"] if self.image_pull_secret else []
        own += [f"namespaces={','.join(self.namespaces)}"] if self.namespaces else []
        own += ["sample_nodes=0"] if self.all_nodes else []
        if self.outside_via:
            from kubereach.vantage.command import words_of  # with all that a vantage needs

            for command in self.outside_via:
                words_of(command)
        own += ["outside_via=" + "\n".join(self.outside_via)] if self.outside_via else []
        # a lab has as many nodes as it was asked for
        first = ["sample_nodes=0"] if self.target == "lab" else []
        return Settings().overridden([*first, *self.assignments, *own])


def add_to_argparse(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("options of a run")
    for option in OPTIONS:
        group.add_argument(f"--{option.name}", **option.arguments())


def add_to_pytest(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    for option in OPTIONS:
        if not option.shared or not _pytest_kind_comes_later(pluginmanager):
            _add(parser, option)


def share(parser: pytest.Parser) -> None:
    """Register what pytest-kind has too, unless it has done so: then its values are ours too."""
    for option in OPTIONS:
        if option.shared:
            _add(parser, option)


def _add(parser: pytest.Parser, option: Option) -> None:
    # A name that another plugin has taken stays that plugin's: pytest refuses a second registration,
    # and being installed must never break a project's tests. There is no public way to ask what is taken.
    groups = [parser._anonymous, *parser._groups]
    if not any(f"--{option.name}" in taken.names() for group in groups for taken in group.options):
        group = parser.getgroup("kubereach", "conformance of a cluster's Services (kubereach)")
        group.addoption(f"--{option.name}", **option.arguments())


def _pytest_kind_comes_later(pluginmanager: pytest.PytestPluginManager) -> bool:
    # pytest-kind fails when an option of its exists before it, and installed plugins load in no particular order.
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") or pluginmanager.is_blocked("pytest-kind"):
        return False
    return not pluginmanager.hasplugin("pytest-kind") and importlib.util.find_spec("pytest_kind") is not None


def ensure_plugin(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Load the plugin under its entry point's name, unless it is loaded or blocked already."""
    plugin = importlib.import_module("kubereach.plugin")  # which imports this module
    if not pluginmanager.hasplugin("kubereach") and not pluginmanager.is_blocked("kubereach"):
        pluginmanager.register(plugin, "kubereach")
        if pluginmanager.hasplugin("pytest-kind"):
            share(parser)


def to_pytest(namespace: argparse.Namespace) -> list[str]:
    """The options of a parsed `kubereach run` as pytest's arguments, always in the form ``--name=value``.

    In the form of two words pytest would take an existing file, such as a kubeconfig, for a test path.
    """
    arguments: list[str] = []
    for option in OPTIONS:
        value = getattr(namespace, option.dest)
        if option.kind == "flag":
            arguments += [f"--{option.name}"] if value else []
        elif option.kind == "list":
            arguments += [f"--{option.name}={one}" for one in value]
        elif value is not None:
            arguments.append(f"--{option.name}={value}")
    return arguments


def validated(value_of: Callable[[str], Any]) -> RunOptions:
    """Build `RunOptions` from what `value_of(dest)` gives. Raises `UsageError` with the remedy."""

    def one(name: str) -> str | None:
        value = value_of(_option(name).dest)
        return str(value) if value not in (None, "") else None

    def many(name: str) -> tuple[str, ...]:
        values = value_of(_option(name).dest) or []
        return tuple(part.strip() for value in values for part in str(value).split(",") if part.strip())

    context, kubeconfig = one("context"), one("kubeconfig")
    target = one("target") or ("existing" if context or kubeconfig else "lab")
    if target not in TARGETS:
        raise UsageError(f"--target {target}: no such target", f"Targets: {', '.join(TARGETS)}.")
    if target == "lab" and (context or kubeconfig):
        raise UsageError(
            "--target lab has no use for --context or --kubeconfig", "Leave out one or the other."
        )
    faults = many("fault")
    if faults and target != "lab":
        raise UsageError(
            f"--fault {faults[0]}: only the lab can have faults", "Leave out --fault, or the context."
        )
    proxy_mode, version, ip_family = (
        _lab_alone(name, one(name), target) for name in ("proxy-mode", "kubernetes-version", "ip-family")
    )
    dual_stack = bool(value_of(_option("dual-stack").dest))
    if dual_stack and target == "existing":
        raise UsageError(
            "--dual-stack: a cluster's IP families are its own, only the lab's and kind's can be chosen",
            "Leave out --dual-stack, or the context.",
        )
    config_file = Path(kubeconfig).expanduser() if kubeconfig else None
    nodes = _number_of_nodes(one("nodes"))
    kind = KindChoice()
    if target == "kind":
        if context:
            raise UsageError(
                "--target kind has a context of its own", "Leave out --context, or --target kind."
            )
        keep = bool(value_of(_option("keep").dest))
        kind = kind_options.chosen(value_of, config_file, nodes, dual_stack, keep)
    else:
        kind_options.refuse_elsewhere(value_of, kind_options.OWN, target)
    return RunOptions(
        target=target,
        context=context,
        kubeconfig=config_file,
        nodes=nodes or 3,
        dual_stack=dual_stack,
        ip_family=ip_family,
        proxy_mode=proxy_mode,
        kubernetes_version=version,
        kind=kind,
        faults=faults,
        checks=many("check"),
        skip_checks=many("skip-check"),
        levels=_known("level", many("level"), LEVELS),
        quick=bool(value_of(_option("quick").dest)),
        require=frozenset(_known("require", many("require"), FEATURES)),
        disruptive=bool(value_of(_option("disruptive").dest)),
        report_dir=Path(report).expanduser() if (report := one("report-dir")) else None,
        image=one("image"),
        keep=bool(value_of(_option("keep").dest)),
        self_load_balancer=bool(value_of(_option("self-load-balancer").dest)),
        lb_provider=one("lb-provider"),
        # a value may well have commas in it
        lb_values=tuple(value_of(_option("lb-value").dest) or ()),
        external_name=one("external-name"),
        image_pull_secret=one("image-pull-secret"),
        namespaces=namespaces_of(many("namespace")),
        all_nodes=bool(value_of(_option("all-nodes").dest)),
        # one that has line breaks is the words' own affair
        outside_via=tuple(" ".join(c.split("\n")) for c in value_of(_option("outside-via").dest) or ()),
        assignments=tuple(value_of(_option("set").dest) or ()),
    )


def namespaces_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The namespaces of --namespace: one to three that differ. Raises `UsageError`."""
    found = tuple(part.strip() for name in names for part in name.split(",") if part.strip())
    for name in found:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
            raise UsageError(f"--namespace {name}: not a namespace's name", "See `kubectl get namespaces`.")
    if len(found) > 3 or len(set(found)) < len(found):
        raise UsageError(
            f"--namespace {','.join(found)}: one, two or three namespaces that differ",
            "The Services' one, another one, and one that allows pods on the host network.",
        )
    return found


def _option(name: str) -> Option:
    return next(option for option in OPTIONS if option.name == name)


def _number_of_nodes(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise UsageError(f"--nodes {text}: not a number of nodes", "The lab takes 1 to 100 nodes.")
    return int(text)


def _lab_alone(name: str, value: str | None, target: str) -> str | None:
    """The value of an option that says what the lab is to play. Raises `UsageError` for another target."""
    if value and target != "lab":
        kind = f" (for kind there is --kind-{name})" if target == "kind" and name == "proxy-mode" else ""
        raise UsageError(
            f"--{name} {value}: a cluster's own is what it is, only the lab's can be chosen{kind}",
            f"Leave out --{name}, or the target.",
        )
    return value


def _known(option: str, given: tuple[str, ...], known: dict[str, str]) -> tuple[str, ...]:
    for name in given:
        if name not in known:
            raise UsageError(
                f"--{option} {name}: there is no such {option if option == 'level' else 'feature'}",
                f"Known: {', '.join(known)}.",
            )
    return given
