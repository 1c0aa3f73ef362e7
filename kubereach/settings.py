"""The one table of time-outs and budgets. Every field can be overridden with ``--set name=value``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

from kubereach.errors import UsageError

_Value = TypeVar("_Value")


def _setting(default: _Value, what: str) -> _Value:
    return field(default=default, metadata={"what": what})


@dataclass(frozen=True)
class Settings:
    """Times are seconds, probabilities are 0..1. Each field's text is what ``--help`` and the docs say."""

    image: str = _setting("python:3.13-alpine", "image of our pods: anything with Python >= 3.8 as python3")
    namespace_prefix: str = _setting("kubereach", "our namespaces are called PREFIX-RUN-...")
    in_flight: int = _setting(
        16, "probes at once from one vantage: more would measure our own backends, not the network"
    )
    loss: float = _setting(0.05, "share of lost probes that a hold series must notice")
    loss_miss: float = _setting(
        0.001, "chance that a hold series overlooks that loss; sets the length of the series"
    )
    endpoint_miss: float = _setting(1e-9, "chance that a series overlooks an endpoint of a uniform balancer")
    connect_timeout: float = _setting(
        2.0,
        "a TCP or HTTP probe without an answer for this long is a time-out; two SYNs fit in. Once the backend's "
        "machine has acknowledged its question it is three times as long: a busy backend has lost nothing",
    )
    udp_timeout: float = _setting(1.0, "a UDP probe without an answer for this long is a time-out")
    silence: float = _setting(
        0.5, "where silence conforms, a probe waits so long for an answer, and longer if its control was slow"
    )
    dns_timeout: float = _setting(2.0, "a DNS query without an answer for this long is a time-out")
    converge_deadline: float = _setting(
        30.0,
        "the data plane has this long to follow a change; names may take as long again, where a DNS cache says that it "
        "still keeps an answer of before",
    )
    settle_deadline: float = _setting(
        10.0, "and this long once our pods are ready, before the first failure counts"
    )
    troubled_deadline: float = _setting(
        3.0,
        "and this long, or three times as long as the slowest change so far, where a vantage has already failed a "
        "check: the run is to end in time",
    )
    convergence_budget: float = _setting(
        0.0, "lifecycle.convergence notes paths that take longer to follow a change; 0: none does"
    )
    cluster_deadline: float = _setting(
        600.0, "a kind cluster has this long to come up, its node image's download included"
    )
    world_deadline: float = _setting(180.0, "our pods have this long to get ready, image pull included")
    load_balancer_deadline: float = _setting(
        60.0, "a Service of type LoadBalancer has this long to get an address"
    )
    self_load_balancer: bool = _setting(
        False, "our Services of type LoadBalancer get addresses from us, for what is seen in the cluster"
    )
    self_load_balancer_range: str = _setting(
        "198.51.100.0/24,2001:db8:51::/112", "and those are of these ranges, one for each IP family"
    )
    lb_provider: str | None = _setting(
        None, "loadbalancer.annotations applies manifests/overlays/PROVIDER.yaml"
    )
    lb_values: str | None = _setting(None, "and fills in these values: NAME=VALUE, separated by semicolons")
    refusal_interval: float = _setting(
        1.05, "refusals are ICMP errors, which a kernel sends about once a second to a client"
    )
    refusal_burst: int = _setting(5, "refusals that may be asked for at once before the interval counts")
    resolve_hold: int = _setting(
        10,
        "resolutions in a row by a vantage's own resolver, each of which must end before it would send a query again",
    )
    hold_in_flight: int = _setting(
        4, "probes at once of one hold series: few, so that latencies are those of an idle backend"
    )
    diagnosis_budget: float = _setting(60.0, "what finding out which layer is broken may take in all")
    stop_deadline: float = _setting(60.0, "our namespaces have this long to go after the run")
    outside_timeout: float = _setting(
        1.5, "a node that does not react to connections for this long cannot be reached from outside"
    )
    keep: bool = _setting(False, "leave our objects in the cluster after the run, for a look at them")
    external_name: str | None = _setting(None, "a public name that pods must be able to resolve")
    namespaces: str | None = _setting(
        None, "our objects go into these namespaces, which exist and stay: one to three, separated by commas"
    )
    image_pull_secret: str | None = _setting(
        None, "our pods pull their image with this Secret: NAME or NAMESPACE/NAME"
    )
    image_architectures: str | None = _setting(
        None,
        "the image runs on nodes of these architectures alone (amd64,arm64), others are left out; empty: on all",
    )
    sample_nodes: int = _setting(
        12, "of more nodes than this so many are taken, spread over zones; 0: all of them"
    )
    outside_via: str | None = _setting(
        None, "further outside vantages: commands that start Python elsewhere, separated by line breaks"
    )
    signal_requests: int = _setting(
        200, "requests of signals.paths on each path: a percent of errors is two of them"
    )
    conntrack_share: float = _setting(
        0.8, "nodes.conntrack notes nodes that use more than this share of their tracked connections"
    )
    cluster_domain: str | None = _setting(None, "DNS domain of the cluster; detected when empty")

    @property
    def given_namespaces(self) -> tuple[str, ...]:
        """The namespaces that the user names; empty if the run makes its own."""
        return tuple(name.strip() for name in (self.namespaces or "").split(",") if name.strip())

    @property
    def pull_secret(self) -> tuple[str, str]:
        """Namespace and name of the Secret that images are pulled with; both empty without one."""
        namespace, _, name = (self.image_pull_secret or "").rpartition("/")
        return (namespace or "default", name) if name else ("", "")

    def overridden(self, assignments: Iterable[str]) -> Settings:
        """A copy with every ``name=value`` applied. Raises `UsageError` for a wrong name or value."""
        changes: dict[str, object] = {}
        types = {f.name: str(f.type) for f in fields(self)}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            name = name.strip().replace("-", "_")
            if not equals or name not in types:
                near = difflib.get_close_matches(name, types, 1)
                raise UsageError(
                    f"--set {assignment}: "
                    + ("there is no such setting" if equals else "not of the form name=value"),
                    (f"Did you mean {near[0]}? " if near and equals else "")
                    + f"Settings: {', '.join(types)}.",
                )
            changes[name] = _parse(name, text.strip(), types[name])
        return replace(self, **changes)  # type: ignore[arg-type]

    def described(self) -> Iterator[tuple[str, object, str]]:
        """(name, value, what it is) of every field, in the table's order."""
        for f in fields(self):
            yield f.name, getattr(self, f.name), str(f.metadata.get("what", ""))


_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def _parse(name: str, text: str, type_: str) -> object:
    """`text` as the type that the field is annotated with; no negative numbers. Raises `UsageError`."""
    if type_ == "bool":
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise UsageError(f"--set {name}={text}: not true or false", "For example --set keep=true.")
    if type_ in ("int", "float"):
        try:
            number: int | float = int(text) if type_ == "int" else float(text)
        except ValueError:
            number = -1
        if not 0 <= number < float("inf"):
            kind = "a whole number" if type_ == "int" else "a number"
            raise UsageError(
                f"--set {name}={text}: not {kind}, zero or more",
                f"The default is {getattr(Settings(), name)}.",
            )
        return number
    return text or None if "None" in type_ else text
