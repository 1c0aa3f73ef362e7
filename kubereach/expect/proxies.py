"""What the service proxies of the nodes say of themselves.

Source: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-proxy/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from kubereach.expect.notes import add_note
from kubereach.kube.cluster import Cluster
from kubereach.model.errors import Failure, NotConforming, Unsupported
from kubereach.model.finding import PROXY, Finding
from kubereach.model.outcome import OK, Answer, in_words
from kubereach.model.tally import judged
from kubereach.probe import Series, Vantage
from kubereach.probe.group import run_all
from kubereach.world.proxy_mode import MODE_PORT, proxy_modes

#: where kube-proxy tells of its health, on all addresses of its node
HEALTH_PORT = 10256


def to_have_one_proxy_mode(vantages: Sequence[Vantage], others: Mapping[str, object]) -> None:
    """The service proxy of every node says the same of its mode; `others` are what stands for one, by node.

    The mode is in the report. Raises `Unsupported` where neither is known.
    """
    found = {
        vantage.name: mode or str(others.get(vantage.node, ""))
        for vantage, mode in proxy_modes(vantages).items()
    }
    unknown = [name for name, mode in found.items() if not mode]
    if len(unknown) == len(found):
        raise Unsupported(f"no answer on port {MODE_PORT} of localhost, and no pod of a known service proxy")
    judged(len(found) - len(unknown))
    words = ", ".join(f"{name} {mode or 'unknown'}" for name, mode in found.items())
    kinds = set(found.values())
    add_note(vantages[0], f"{next(iter(kinds))} on every node" if len(kinds) == 1 else words)
    if len(kinds) > 1:
        usual = Counter(found.values()).most_common(1)[0][0]
        odd = [vantage for vantage in vantages if found[vantage.name] != usual]
        finding = _finding("its mode differs from that of other nodes", odd, words)
        raise NotConforming(
            [Failure("nodes", "service proxy", "the same mode on every node", words, finding=finding)]
        )


def to_have_healthy_proxies(vantages: Sequence[Vantage], cluster: Cluster) -> None:
    """kube-proxy answers 200 on every node. Raises `Unsupported` where no node has one."""
    hosts = {vantage: cluster.node(vantage.node).address for vantage in vantages}
    answers = _ask(vantages, hosts, HEALTH_PORT, "/healthz")
    if not any(answer.outcome == OK for answer in answers.values()):
        raise Unsupported(f"no node answers on port {HEALTH_PORT}: the cluster has no kube-proxy")
    judged(len(answers), len(answers))
    failures = []
    for vantage, answer in answers.items():
        got = f"status {answer.detail}" if answer.outcome == OK else in_words({answer.outcome: 1})
        if got != "status 200":
            where = f"http://{hosts[vantage]}:{HEALTH_PORT}/healthz"
            finding = _finding("it reports itself as unhealthy", [vantage], f"{where}: {got}")
            failures.append(Failure(vantage.name, where, "status 200", got, finding=finding))
    if failures:
        raise NotConforming(failures)
    add_note(vantages[0], f"status 200 on each of {len(answers)} nodes")


def _finding(what: str, vantages: Sequence[Vantage], evidence: str) -> Finding:
    """Of vantages that are nodes: what their service proxies say of themselves needs no further probe."""
    return Finding(
        PROXY,
        "service proxy",
        what,
        tuple(vantage.name.rpartition("@")[2] for vantage in vantages),
        (evidence,),
        tuple(
            f"kubectl -n kube-system get pods -o wide --field-selector spec.nodeName={vantage.node}"
            "  # the service proxy's, then its logs"
            for vantage in vantages
        ),
    )


def _ask(
    vantages: Sequence[Vantage], hosts: Mapping[Vantage, str], port: int, path: str
) -> dict[Vantage, Answer]:
    more = {"path": path, "status": True}
    series = [
        (v, Series("http", hosts[v], port, timeout=v.context.settings.connect_timeout, more=more))
        for v in vantages
    ]
    return {v: result.probes[0].answer for v, result in zip(vantages, run_all(series), strict=True)}
