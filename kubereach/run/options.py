"""The options of a run, declared once: ``--NAME`` of ``kubereach run`` is ``--kubereach-NAME`` of pytest.

In pytest they are options of every project on the machine, where short names would clash with those of others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubereach.model.check import FEATURES, LEVELS
from kubereach.model.errors import KubereachError, UsageError
from kubereach.model.option import Option
from kubereach.targets.kind import options
from kubereach.targets.kind.options import KindChoice

if TYPE_CHECKING:
    import pytest

    from kubereach.model.settings import Settings

TARGETS = ("lab", "kind", "existing")

OPTIONS = (
    Option(
        "target",
        "type of cluster: lab (embedded; the default), kind (created for the run) or existing",
        metavar="TARGET",
    ),
    Option("context", "kubeconfig context to use; implies --target existing", metavar="NAME"),
    Option(
        "kubeconfig",
        "kubeconfig to use; implies --target existing. With --target kind: the kubeconfig that kind writes",
        metavar="FILE",
        shared=True,
    ),
    Option("nodes", "number of nodes of the lab or the kind cluster (default: 3)", metavar="N"),
    Option("dual-stack", "create the lab or the kind cluster with both IP families", "flag"),
    Option(
        "ip-family",
        "IP family of the lab, or its primary one with --dual-stack: ipv4 (default) or ipv6",
        metavar="FAMILY",
    ),
    *options.SHARED,
    *options.OWN,
    Option("fault", "start the lab with a defect, see `kubereach lab faults`", "list", "NAME[,..]"),
    Option(
        "proxy-mode",
        "kube-proxy mode that the lab simulates: nftables (default), iptables or ipvs",
        metavar="MODE",
    ),
    Option(
        "kubernetes-version",
        "Kubernetes version that the lab simulates, such as 1.29 (default: 1.36)",
        metavar="VERSION",
    ),
    Option("image", "container image of the run's pods; it needs Python >= 3.8 as python3", metavar="IMAGE"),
    Option(
        "image-pull-secret",
        "image pull Secret: NAME (in namespace default) or NAMESPACE/NAME",
        metavar="[NS/]NAME",
    ),
    Option(
        "namespace",
        "existing namespaces to use instead of new ones: one; two or three enable all vantages",
        "list",
        "NAME[,..]",
    ),
    Option("all-nodes", "use every node of a large cluster, not a sample", "flag"),
    Option("check", "run only these checks: ids or globs such as 'dns.*'", "list", "ID[,..]"),
    Option("skip-check", "skip these checks: ids or globs", "list", "ID[,..]"),
    Option("level", f"run only checks of these levels: {', '.join(LEVELS)}", "list", "LEVEL[,..]"),
    Option("quick", "run only core checks that are not marked slow", "flag"),
    Option(
        "require",
        f"features whose absence is a failure: {', '.join(FEATURES)}",
        "list",
        "FEATURE[,..]",
    ),
    Option(
        "self-load-balancer",
        "kubereach assigns the load-balancer addresses, to test in-cluster behaviour where no "
        "controller does",
        "flag",
    ),
    Option(
        "lb-provider", "also check the annotations in manifests/overlays/PROVIDER.yaml", metavar="PROVIDER"
    ),
    Option(
        "lb-value", "value that the overlay needs, such as the name of a certificate", "list", "NAME=VALUE"
    ),
    Option("external-name", "public name that pods must be able to resolve", metavar="NAME"),
    Option(
        "outside-via",
        "additional outside vantage: a command that starts Python elsewhere, such as 'edge1=ssh "
        "edge1 python3'; reports show the name, never the command",
        "list",
        "[NAME=]COMMAND",
    ),
    Option("disruptive", "also run the checks that disturb nodes or system pods", "flag"),
    Option("keep", "keep the run's objects in the cluster after the run", "flag"),
    Option(
        "deadline",
        "end the run after this many seconds; checks that have not run become errors, and the "
        "exit code is 3 (or 1 if a check failed); default: no limit",
        metavar="SECONDS",
    ),
    Option("report-dir", "folder for report.json (default: reports/latest)", metavar="DIR"),
    Option("set", "override a setting; `kubereach run --help` lists them", "list", "NAME=VALUE"),
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
    #: [NAME=]COMMAND, the command as for a shell
    outside_via: tuple[str, ...] = ()
    #: seconds that the run may take; None: as long as it takes
    deadline: float | None = None
    assignments: tuple[str, ...] = ()

    def settings(self) -> Settings:
        """The table of settings with --set and the options that have a setting applied. Raises `UsageError`."""
        from kubereach.model.settings import Settings  # with all its fields: not for --help

        # a lab has as many nodes as it was asked for
        first = ["sample_nodes=0"] if self.target == "lab" else []
        settings = Settings().overridden([*first, *self.assignments])
        own: dict[str, object] = {
            "image": self.image,
            "keep": self.keep,
            "self_load_balancer": self.self_load_balancer,
            "lb_provider": self.lb_provider,
            "lb_values": self.lb_values,
            "external_name": self.external_name,
            "image_pull_secret": self.image_pull_secret,
            "namespaces": self.namespaces,
            "outside_via": self.outside_via,
            "run_deadline": self.deadline,
        }
        settings = replace(settings, **{name: value for name, value in own.items() if value})  # type: ignore[arg-type]
        if self.all_nodes:
            settings = replace(settings, sample_nodes=0)
        if settings.outside_via:
            from kubereach.probe.elsewhere import elsewhere  # with all that a vantage needs

            # with a name of its own each, so that nothing needs the command to tell them apart
            named = tuple(str(elsewhere(given)) for given in settings.outside_via)
            settings = replace(settings, outside_via=named)
        return settings


def add_to_pytest(parser: pytest.Parser) -> None:
    group = parser.getgroup("kubereach", "conformance of a cluster's Services (kubereach)")
    for option in OPTIONS:
        group.addoption(f"--kubereach-{option.name}", **option.arguments())


def of_pytest(config: pytest.Config) -> Callable[[str], Any]:
    """The value of each option by its `dest`, as pytest was given it: for `validated`.

    Without pytest-kind, an option that has the name of one of its own is somebody else's and means nothing here.
    """
    plugins = {getattr(plugin, "__name__", "") for plugin in config.pluginmanager.get_plugins()}
    there = "pytest_kind.plugin" in plugins
    theirs = {option.dest: option.pytest_kind_dest for option in OPTIONS if option.shared and there}

    def value_of(dest: str) -> Any:
        value = config.getoption(dest, None)
        return config.getoption(theirs[dest], None) if dest in theirs and not value else value

    return value_of


def given_to_pytest(config: pytest.Config) -> list[str]:
    """The options of ours that pytest was given, on its command line or in its configuration."""
    return [f"--kubereach-{option.name}" for option in OPTIONS if config.getoption(option.dest, None)]


_NAMES = "|".join(option.name for option in OPTIONS)
#: a command in backticks, which keeps its options as they are, or an option of a run
_COMMAND_OR_OPTION = re.compile(rf"(`[^`]*`)|(?<![\w-])--({_NAMES})(?![\w-])")


def spell_for_pytest(error: KubereachError) -> None:
    """Give the options that the error's text names the names that they have in pytest."""

    def spelled(text: str) -> str:
        return _COMMAND_OR_OPTION.sub(lambda m: m[1] or f"--kubereach-{m[2]}", text)

    error.message, error.remedy = spelled(error.message), spelled(error.remedy)
    error.args = tuple(spelled(str(word)) for word in error.args)


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
        raise UsageError(f"--target {target}: unknown target", f"Targets: {', '.join(TARGETS)}.")
    if target == "lab" and (context or kubeconfig):
        raise UsageError(
            "--target lab does not take --context or --kubeconfig", "Leave out one or the other."
        )
    faults = many("fault")
    if faults and target != "lab":
        raise UsageError(
            f"--fault {faults[0]}: works with the lab only", "Leave out --fault, or --target and --context."
        )
    proxy_mode, version, ip_family = (
        _lab_alone(name, one(name), target) for name in ("proxy-mode", "kubernetes-version", "ip-family")
    )
    dual_stack = bool(value_of(_option("dual-stack").dest))
    if dual_stack and target == "existing":
        raise UsageError(
            "--dual-stack works with the lab and kind only; an existing cluster's IP families are fixed",
            "Leave out --dual-stack, or --target and --context.",
        )
    config_file = Path(kubeconfig).expanduser() if kubeconfig else None
    nodes = _number_of_nodes(one("nodes"))
    kind = KindChoice()
    if target == "kind":
        if context:
            raise UsageError(
                "--target kind does not take --context: kind creates one",
                "Leave out --context, or --target kind.",
            )
        keep = bool(value_of(_option("keep").dest))
        kind = options.chosen(value_of, config_file, nodes, dual_stack, keep)
    else:
        options.refuse_elsewhere(value_of, options.OWN, target)
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
        # and so may a command
        outside_via=tuple(value_of(_option("outside-via").dest) or ()),
        deadline=_seconds("deadline", one("deadline")),
        assignments=tuple(value_of(_option("set").dest) or ()),
    )


def namespaces_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The namespaces of --namespace: one to three that differ. Raises `UsageError`."""
    found = tuple(part.strip() for name in names for part in name.split(",") if part.strip())
    for name in found:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
            raise UsageError(
                f"--namespace {name}: not a valid namespace name", "See `kubectl get namespaces`."
            )
    if len(found) > 3 or len(set(found)) < len(found):
        raise UsageError(
            f"--namespace takes one to three different namespaces, got {','.join(found)}",
            "One for Services, one for the other-namespace vantages, one that allows pods with hostNetwork.",
        )
    return found


def _option(name: str) -> Option:
    return next(option for option in OPTIONS if option.name == name)


def _number_of_nodes(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise UsageError(f"--nodes {text}: not a valid number of nodes", "A lab has 1 to 100 nodes.")
    return int(text)


def _seconds(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(f"--{name} {text}: not a positive number of seconds", f"Example: --{name} 600.")
    return seconds


def _lab_alone(name: str, value: str | None, target: str) -> str | None:
    """The value of an option that says what the lab is to play. Raises `UsageError` for another target."""
    if value and target != "lab":
        kind = f" (for kind use --kind-{name})" if target == "kind" and name == "proxy-mode" else ""
        raise UsageError(
            f"--{name} works with the lab only{kind}",
            f"Leave out --{name}, or --target and --context.",
        )
    return value


def _known(option: str, given: tuple[str, ...], known: dict[str, str]) -> tuple[str, ...]:
    for name in given:
        if name not in known:
            raise UsageError(
                f"--{option} {name}: unknown {option if option == 'level' else 'feature'}",
                f"Known: {', '.join(known)}.",
            )
    return given
