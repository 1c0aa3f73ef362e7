"""Two DNS queries that leave one port at once: which one fails on its own as well, and where one of two is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kubereach.diagnosis.bench import Bench, counted
from kubereach.model.finding import DNS, NODE, Finding
from kubereach.model.outcome import OK, Answer, SeriesResult
from kubereach.probe import Series, dns_message
from kubereach.probe.path import Path

if TYPE_CHECKING:
    from kubereach.kube.cluster_dns import DnsReplica
    from kubereach.world.world import World

#: queries on their own, and pairs: so many that one which gets lost in twenty is seen
_MANY = 270


def is_pair(path: Path) -> bool:
    return path.series is not None and bool(path.series.more.get("beside"))


def right_alone(path: Path, message: str, answer: Answer) -> bool:
    """Whether an answer to one of the pair's queries has the records of its type that it must have."""
    rdtype = dns_message.asked(message).rdtype
    found = dns_message.read(answer.detail, rdtype)
    wanted = {address for address in path.wanted or () if (":" in address) == (rdtype == "AAAA")}
    return found is not None and found.rcode == "NOERROR" and found.records == wanted


def wrong_alone(bench: Bench, path: Path) -> str:
    """The query of the pair that is not answered, or not rightly, on its own either; empty if both are."""
    assert path.series is not None
    messages = [str(path.series.more[name]) for name in ("message", "beside")]
    results = bench.run([(path.vantage, _alone(path.series, message)) for message in messages])
    for message, result in zip(messages, results, strict=True):
        if not all(right_alone(path, message, probe.answer) for probe in result.probes):
            return message
    return ""


def one_of_two(
    world: World, bench: Bench, path: Path, replicas: Sequence[DnsReplica], short: dict[str, str]
) -> Finding:
    """Where one of two queries at once is lost, when each on its own is answered."""
    assert path.series is not None
    pairs = replace(path.series, count=_MANY, patient=True, stop_after=3)
    pods = list(world.pods)
    through = bench.run([(pod, pairs) for pod in pods])
    direct = bench.run(
        [(path.vantage, replace(pairs, host=replica.address, port=replica.port)) for replica in replicas]
    )
    lossy = [pod for pod, result in zip(pods, through, strict=True) if not _whole(result)]
    lines = (
        f"{path.vantage.name} to {path.address}: {counted([path.result])}",
        *(f"{pod.name}, pairs of queries: {counted([r])}" for pod, r in zip(pods, through, strict=True)),
        *(
            f"{path.vantage.name}, pairs to replica {replica.pod}: {counted([r])}"
            for replica, r in zip(replicas, direct, strict=True)
        ),
    )
    what = "of two queries that leave one port at once, one is lost; each on its own is answered"
    if len(lossy) == len(pods) > 1 and direct and not any(_whole(result) for result in direct):
        return Finding(DNS, "cluster DNS", what, (), lines, (f"tcpdump -ni any host {path.address.host}",))
    nodes = sorted({pod.node for pod in lossy} or {path.vantage.node})
    see = ("conntrack -S  # insert_failed", f"nft list ruleset | grep {path.address.host}")
    return Finding(NODE, "node", what, tuple(short.get(node, node) for node in nodes if node), lines, see)


def _alone(series: Series, message: str) -> Series:
    more = {"message": message, "transport": "udp"}
    return replace(series, count=_MANY, stop_after=3, patient=True, more=more)


def _whole(result: SeriesResult) -> bool:
    return result.outcomes.keys() == {OK}
