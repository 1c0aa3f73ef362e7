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

    image: str = _setting(
        "python:3.13-alpine", "container image of the run's pods; it needs Python >= 3.8 as python3"
    )
    namespace_prefix: str = _setting(
        "kubereach", "prefix of the run's namespaces, which are named PREFIX-RUN-..."
    )
    in_flight: int = _setting(
        16,
        "maximum number of concurrent probes of one vantage; more would measure the backends, "
        "not the network",
    )
    loss: float = _setting(0.05, "share of lost probes that a hold must detect")
    loss_miss: float = _setting(
        0.001,
        "probability that a hold misses lost probes of the share `loss`; determines how many "
        "probes a hold has",
    )
    endpoint_miss: float = _setting(
        1e-9, "probability that a series misses one endpoint of a uniform load balancer"
    )
    connect_timeout: float = _setting(
        2.0,
        "seconds to wait for the answer to a TCP or HTTP probe, long enough for two SYNs; three "
        "times as long once the backend's kernel has acknowledged the request",
    )
    udp_timeout: float = _setting(1.0, "seconds to wait for the answer to a UDP probe")
    burst_timeout: float = _setting(
        10.0,
        "seconds to wait for the answer to one of many simultaneous connections",
    )
    stall_timeout: float = _setting(
        4.0,
        "seconds without progress after which a transfer counts as stalled; TCP retransmits "
        "after 0.2, 0.4, 0.8, ... seconds",
    )
    flow_end_deadline: float = _setting(
        3.0,
        "seconds for which an existing flow may still get answers after new flows no longer get any",
    )
    silence: float = _setting(
        0.5, 'seconds to wait before silence counts as "no answer" (longer if the control was slow)'
    )
    dns_timeout: float = _setting(2.0, "seconds to wait for the answer to a DNS query")
    converge_deadline: float = _setting(
        30.0,
        "seconds for the data plane to follow a change; a name has twice as long if a DNS cache "
        "still holds an older answer",
    )
    settle_deadline: float = _setting(10.0, "seconds after the pods are ready before a failure counts")
    troubled_deadline: float = _setting(
        3.0,
        "seconds before a failure counts at a vantage that has already failed a check; at least "
        "three times the slowest convergence so far",
    )
    convergence_budget: float = _setting(
        0.0, "seconds of convergence above which lifecycle.convergence reports a path; 0: it reports none"
    )
    cluster_deadline: float = _setting(
        600.0, "seconds for a kind cluster to start, including the pull of its node image"
    )
    world_deadline: float = _setting(
        180.0, "seconds for the run's pods to become ready, including the image pull"
    )
    scheduling_deadline: float = _setting(
        5.0,
        "seconds to wait for an unschedulable pod, or for one that no controller creates; raise "
        "it if nodes are autoscaled",
    )
    exec_timeout: float = _setting(
        60.0,
        "seconds for a prober to start at a vantage, by exec into its pod (up to three attempts) "
        "or by the command of --outside-via",
    )
    answer_margin: float = _setting(
        15.0,
        "seconds beyond the longest possible duration of a series after which its stream counts "
        "as hanging and is replaced",
    )
    api_patience: float = _setting(
        30.0,
        "seconds for which a request to the API server is retried after a restart, status 429 or "
        "a dropped connection",
    )
    watch_patience: float = _setting(
        60.0, "seconds without a successful list request after which a watch counts as lost"
    )
    load_balancer_deadline: float = _setting(
        60.0, "seconds for a Service of type LoadBalancer to get an address"
    )
    service_ports: str = _setting(
        "11000-19999",
        "port range FIRST-LAST of the Services that checks create; no two of them share a port. "
        "Firewalls in front of load balancers must allow it",
    )
    self_load_balancer: bool = _setting(
        False, "kubereach assigns the load-balancer addresses, to test their behaviour inside the cluster"
    )
    self_load_balancer_range: tuple[str, ...] = _setting(
        ("198.51.100.0/24", "2001:db8:51::/112"), "address ranges for self_load_balancer, one per IP family"
    )
    lb_provider: str | None = _setting(
        None, "provider whose manifests/overlays/PROVIDER.yaml the check loadbalancer.annotations applies"
    )
    lb_values: tuple[str, ...] = _setting(
        (), "value for the overlay of lb_provider, NAME=VALUE; one per --set", whole=True, secret=True
    )
    refusal_interval: float = _setting(
        1.05,
        "seconds between probes that expect a refusal: a kernel sends a client about one ICMP "
        "error per second",
    )
    refusal_burst: int = _setting(
        5, "number of probes that may expect a refusal before refusal_interval applies"
    )
    resolve_hold: int = _setting(
        10,
        "number of consecutive lookups by a vantage's own resolver, each of which must end "
        "before the resolver retries",
    )
    hold_in_flight: int = _setting(
        4,
        "maximum number of concurrent probes of one hold; low, so that latencies are those of an "
        "idle backend",
    )
    check_deadline: float = _setting(
        1200.0, "seconds after which a running check becomes an error and the run continues; 0: no limit"
    )
    run_deadline: float = _setting(
        0.0, "seconds after which the run ends and checks that have not run become errors; 0: no limit"
    )
    diagnosis_budget: float = _setting(90.0, "seconds that all diagnoses of a run may take together")
    stop_deadline: float = _setting(60.0, "seconds for the run's namespaces to be deleted")
    outside_timeout: float = _setting(
        1.5, "seconds without any reply after which a node counts as unreachable from outside"
    )
    keep: bool = _setting(False, "keep the run's objects in the cluster after the run")
    external_name: str | None = _setting(None, "public name that pods must be able to resolve")
    namespaces: tuple[str, ...] = _setting(
        (),
        "existing namespaces for the run's objects, which the run does not delete: one to three, "
        "comma-separated",
    )
    image_pull_secret: str | None = _setting(
        None, "image pull Secret: NAME (in namespace default) or NAMESPACE/NAME"
    )
    image_architectures: tuple[str, ...] = _setting(
        (),
        "architectures that the image supports, such as amd64,arm64; kubereach leaves out other "
        "nodes; empty: all",
    )
    sample_nodes: int = _setting(12, "maximum number of nodes to use, spread over zones; 0: all")
    outside_via: tuple[str, ...] = _setting(
        (),
        "additional outside vantage, NAME=COMMAND, where COMMAND starts Python elsewhere; one per --set",
        whole=True,
        secret=True,
    )
    signal_requests: int = _setting(200, "number of requests that the check signals.paths sends on each path")
    conntrack_share: float = _setting(
        0.8, "used share of the conntrack table above which the check nodes.conntrack reports a node"
    )
    cluster_domain: str | None = _setting(None, "DNS domain of the cluster; detected if empty")

    @property
    def port_range(self) -> tuple[int, int]:
        """First and last of ``service_ports``. Raises `UsageError` for what is no range of a hundred ports at least."""
        first, _, last = self.service_ports.partition("-")
        if first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) - 99 <= 65535 - 99:
            return int(first), int(last)
        raise UsageError(
            f"service_ports {self.service_ports}: not a range of 100 ports or more",
            "Example: 11000-19999.",
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
                    + ("there is no such setting" if equals else "not of the form NAME=VALUE"),
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
        raise UsageError(f"--set {name}={text}: not true or false", "Example: --set keep=true.")
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
