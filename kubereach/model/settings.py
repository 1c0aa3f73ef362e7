"""The one table of time-outs and budgets. Every field can be overridden with ``--set name=value``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

from kubereach.model.errors import UsageError

_Value = TypeVar("_Value")


def _setting(default: _Value, what: str, *, whole: bool = False, secret: bool = False) -> _Value:
    """A setting. Of a list, `whole` values are given one at a time, for they may have commas in them.

    The values of a list that is `secret` are of the form NAME=VALUE, and nothing but NAME is shown anywhere.
    """
    return field(default=default, metadata={"what": what, "whole": whole, "secret": secret})


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
    burst_timeout: float = _setting(
        10.0,
        "connections of a burst wait for the few backends: one without an answer for this long is a time-out",
    )
    stall_timeout: float = _setting(
        4.0,
        "a transfer without progress for this long has stalled; TCP sends again after 0.2, 0.4, 0.8, ... seconds",
    )
    flow_end_deadline: float = _setting(
        3.0,
        "a flow may be answered for this long when new ones are not any more: a service proxy that ends flows does so "
        "right after it has changed its rules",
    )
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
    scheduling_deadline: float = _setting(
        5.0,
        "a pod that no node has room for, or that no controller makes, is waited for this long: more where nodes are "
        "added on demand",
    )
    exec_timeout: float = _setting(
        60.0,
        "seconds until a prober is running at a vantage: exec into its pod, or the command of --outside-via, and its "
        "greeting; exec is attempted up to three times within",
    )
    answer_margin: float = _setting(
        15.0,
        "seconds over the longest time that a series of probes can take, after which its stream counts as hanging and "
        "is replaced",
    )
    api_patience: float = _setting(
        30.0,
        "seconds for which a request is repeated once the API server has answered before: it restarts, is busy (429) "
        "or a balancer has dropped the connection",
    )
    watch_patience: float = _setting(
        60.0, "seconds without a successful list of a watched collection until a run counts its watch as lost"
    )
    load_balancer_deadline: float = _setting(
        60.0, "a Service of type LoadBalancer has this long to get an address"
    )
    service_ports: str = _setting(
        "11000-19999",
        "Services that checks make have ports of this range, FIRST-LAST, each its own: an address that is given again "
        "is not taken for its last owner. Firewalls before load balancers must let them through",
    )
    self_load_balancer: bool = _setting(
        False, "our Services of type LoadBalancer get addresses from us, for what is seen in the cluster"
    )
    self_load_balancer_range: tuple[str, ...] = _setting(
        ("198.51.100.0/24", "2001:db8:51::/112"), "and those are of these ranges, one for each IP family"
    )
    lb_provider: str | None = _setting(
        None, "loadbalancer.annotations applies manifests/overlays/PROVIDER.yaml"
    )
    lb_values: tuple[str, ...] = _setting(
        (), "and fills in this value: NAME=VALUE, one for each --set", whole=True, secret=True
    )
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
    check_deadline: float = _setting(
        1200.0, "a check that has not ended after this long is an error, and the run goes on; 0: no limit"
    )
    run_deadline: float = _setting(
        0.0, "the run is ended after so long: checks that have not run by then are errors; 0: it never is"
    )
    diagnosis_budget: float = _setting(60.0, "what finding out which layer is broken may take in all")
    stop_deadline: float = _setting(60.0, "our namespaces have this long to go after the run")
    outside_timeout: float = _setting(
        1.5, "a node that does not react to connections for this long cannot be reached from outside"
    )
    keep: bool = _setting(False, "leave our objects in the cluster after the run, for a look at them")
    external_name: str | None = _setting(None, "a public name that pods must be able to resolve")
    namespaces: tuple[str, ...] = _setting(
        (), "our objects go into these namespaces, which exist and stay: one to three, separated by commas"
    )
    image_pull_secret: str | None = _setting(
        None, "our pods pull their image with this Secret: NAME or NAMESPACE/NAME"
    )
    image_architectures: tuple[str, ...] = _setting(
        (),
        "the image runs on nodes of these architectures alone (amd64,arm64), others are left out; empty: on all",
    )
    sample_nodes: int = _setting(
        12, "of more nodes than this so many are taken, spread over zones; 0: all of them"
    )
    outside_via: tuple[str, ...] = _setting(
        (),
        "a further outside vantage: NAME=COMMAND that starts Python elsewhere, one for each --set",
        whole=True,
        secret=True,
    )
    signal_requests: int = _setting(
        200, "requests of signals.paths on each path: a percent of errors is two of them"
    )
    conntrack_share: float = _setting(
        0.8, "nodes.conntrack notes nodes that use more than this share of their tracked connections"
    )
    cluster_domain: str | None = _setting(None, "DNS domain of the cluster; detected when empty")

    @property
    def port_range(self) -> tuple[int, int]:
        """First and last of ``service_ports``. Raises `UsageError` for what is no range of a hundred ports at least."""
        first, _, last = self.service_ports.partition("-")
        if first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) - 99 <= 65535 - 99:
            return int(first), int(last)
        raise UsageError(
            f"service_ports {self.service_ports}: not a range of 100 ports or more",
            "For example 11000-19999.",
        )

    @property
    def pull_secret(self) -> tuple[str, str]:
        """Namespace and name of the Secret that images are pulled with; both empty without one."""
        namespace, _, name = (self.image_pull_secret or "").rpartition("/")
        return (namespace or "default", name) if name else ("", "")

    def overridden(self, assignments: Iterable[str]) -> Settings:
        """A copy with every ``name=value`` applied. Raises `UsageError` for a wrong name or value."""
        changes: dict[str, object] = {}
        types = {f.name: str(f.type) for f in fields(self)}
        whole = {f.name for f in fields(self) if f.metadata["whole"]}
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
            if name in whole:
                before = changes.get(name, ())
                assert isinstance(before, tuple)
                changes[name] = (*before, text) if text else ()
            else:
                changes[name] = _parse(name, text.strip(), types[name])
        return replace(self, **changes)  # type: ignore[arg-type]

    def described(self) -> Iterator[tuple[str, str | float | bool | None, str]]:
        """(name, value, what it is) of every field, in the table's order. Lists are joined, and secrets left out."""
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, tuple):
                shown = [_shown(one) for one in value] if f.metadata["secret"] else value
                value = ",".join(shown) or None
            yield f.name, value, str(f.metadata["what"])


_NAMED = re.compile(r"([A-Za-z0-9][\w.:/-]*)\s*=")


def _shown(value: str) -> str:
    """The NAME of a NAME=VALUE that nobody may see."""
    named = _NAMED.match(value)
    return named[1] if named else "(not shown)"


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
    if type_.startswith("tuple"):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text or None if "None" in type_ else text
