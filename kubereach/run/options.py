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
    *options.SHARED,
    *options.OWN,
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
        "a further outside vantage: a command that starts Python elsewhere, such as 'edge1=ssh edge1 python3'; "
        "reports show the name, never the command",
        "list",
        "[NAME=]COMMAND",
    ),
    Option("disruptive", "run the checks that disturb nodes or system pods too", "flag"),
    Option("keep", "leave our objects in the cluster after the run", "flag"),
    Option(
        "deadline",
        "end the run after so many seconds: checks that have not run by then are errors, and the exit code is 3 "
        "(or 1, if a check had failed); default: no limit",
        metavar="SECONDS",
    ),
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
    #: [NAME=]COMMAND, the command as for a shell
    outside_via: tuple[str, ...] = ()
    #: seconds that the run may take; None: as long as it takes
    deadline: float | None = None
    assignments: tuple[str, ...] = ()

    def settings(self) -> Settings:
        """The table of settings with --set and the options that have a setting applied. Raises `UsageError`."""
        from kubereach.model.settings import Settings

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
    """The value of each option by its `dest`, as pytest was given it: for `validated`."""
    theirs = {option.dest: option.pytest_kind_dest for option in OPTIONS if option.shared}

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


def _seconds(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(f"--{name} {text}: not a number of seconds above zero", f"For example --{name} 600.")
    return seconds


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
