"""Names: what the vantage's own resolver is told to ask, and what each replica of the cluster's DNS answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from kubereach.diagnosis.bench import Bench, counted
from kubereach.diagnosis.dns_kinds import Kind, Server, kind_of
from kubereach.diagnosis.dns_loss import lost_queries
from kubereach.diagnosis.dns_pairs import is_pair, one_of_two, right_alone, wrong_alone
from kubereach.diagnosis.dns_places import Asking, on_some_nodes, unanswered
from kubereach.diagnosis.replicas import REPLIES, TRIES, about, behind, correct_answers, named
from kubereach.diagnosis.subject import Subject
from kubereach.kube.cluster_dns import is_link_local
from kubereach.kube.resolv_conf import ResolvConf
from kubereach.model.finding import DNS, NODE, PROXY, Finding
from kubereach.model.misses import LOST, RECORDS
from kubereach.model.outcome import SERVFAIL, TIMEOUT, Answer, SeriesResult, in_words
from kubereach.probe import Series, dns_message
from kubereach.probe.path import Path
from kubereach.probe.vantage import NODE as NODE_VANTAGE
from kubereach.probe.vantage import OUTSIDE

if TYPE_CHECKING:
    from kubereach.world.world import World

#: questions to each replica, or datagrams to a pod, where only some got lost: 1 in 20 goes unnoticed once in a million
#: times
_MANY = 270


def walk(world: World, bench: Bench, path: Path, subject: Subject | None, short: dict[str, str]) -> Finding:
    """The layer at fault of a name that is not answered, or not as it must be."""
    found = _configured(world, path)
    if found is not None:
        return found
    replicas = world.cluster.dns.replicas if world.cluster.dns else ()
    message, right = question(world, path, subject)
    if is_pair(path):
        message = wrong_alone(bench, path)
        right = partial(right_alone, path, message)
        if not message:
            return one_of_two(world, bench, path, replicas, short)
    vantage = path.vantage if path.vantage.kind != OUTSIDE else world.pods[0]
    series = Series(
        "dns",
        count=_MANY if len(path.result.outcomes) > 1 else TRIES,
        timeout=vantage.context.settings.dns_timeout / 2,
        wanted=tuple(REPLIES),
        stop_after=3,
        more={
            "message": message,
            "transport": (path.series.more if path.series else {}).get("transport", "udp"),
        },
    )

    def ask(series: Series) -> list[SeriesResult]:
        return bench.run([(vantage, replace(series, host=r.address, port=r.port)) for r in replicas])

    results, over = ask(series), ""
    if path.address.kind != "dns" and all(_truncated(one, right) for one in results):
        # all that a resolver has of such an answer is that it must ask again
        over, series = " over TCP", replace(series, more={**series.more, "transport": "tcp"})
        results = ask(series)
    lines = [
        f"replica {r.pod} ({r.address}){over}: {correct_answers(one, right)}"
        for r, one in zip(replicas, results, strict=True)
    ]
    silent = [r for r, one in zip(replicas, results, strict=True) if not _replied(one)]
    wrong = [
        r for r, one in zip(replicas, results, strict=True) if not all(right(p.answer) for p in one.probes)
    ]
    see = (
        *(f"dig @{r.address} -p {r.port} {path.address.host if path.address.kind == 'resolve' else ''}".rstrip()
          for r in (wrong or list(replicas))[:2]),
        about(world, "logs --tail=50 --prefix"),
        "kubectl -n kube-system get configmap coredns -o yaml",
    )  # fmt: skip
    asking, kind = Asking(world, bench, short, vantage, series, right), Kind()
    if wrong and not any(_answers(one) for r, one in zip(replicas, results, strict=True) if r in wrong):
        servers = [Server(f"replica {r.pod}", r.address, r.port) for r in wrong]
        kind = kind_of(bench, vantage, series, servers)
        lines += kind.evidence
    at = path.address.host if path.address.kind == "dns" else world.cluster.dns_address
    if path.miss == LOST and not silent and _only_lost(path, right) and not kind.works:
        service = "" if path.address.host in {replica.address for replica in replicas} else at
        if found := lost_queries(asking, path, replicas, service, see):
            return found
    if silent:
        return unanswered(asking, silent, kind, lines, see)
    if wrong and (found := on_some_nodes(asking, wrong, kind, path.failures[0].got)):
        return replace(found, evidence=(*found.evidence, *lines), next=see)
    if wrong or not replicas:
        what = "its answers differ from the API objects"
        if kind.works:
            refused = next(one for r, one in zip(replicas, results, strict=True) if r in wrong)
            what = kind.beside(f"it does not answer {kind.queries} ({in_words(refused.outcomes)})")
        if not replicas:
            what = "it has no endpoints"
        elif not kind.works and any(one.outcomes.keys() - REPLIES for one in results):
            what = "it answers some queries and not others"
        name, nodes = named(wrong, replicas, short)
        lines.insert(0, f"{path.vantage.name} expected {path.failures[0].expected}")
        return Finding(DNS, name, what, nodes, tuple(lines), see)
    if path.miss == RECORDS and (late := behind(bench, path, vantage, at, series, right, replicas, short)):
        return replace(late, evidence=(*late.evidence, *lines), next=see)
    # every replica answers right when it is asked itself: what is left is the way of the Service in front of them
    (through,) = bench.run([(vantage, replace(series, host=at, port=_port(path)))])
    if not _answers(through):
        kind = kind_of(bench, vantage, series, [Server(f"the DNS Service {at}", at, _port(path))])
        lines += kind.evidence
    what = kind.beside(
        f"{kind.queries} to the DNS Service {at} fail, while each of its {len(replicas)} replicas answers correctly"
    )
    look = (f"nft list ruleset | grep {at}", f"conntrack -L -d {at}", *see[:1])
    place = (short.get(path.vantage.node, path.vantage.node),) if path.vantage.node else ()
    return Finding(
        PROXY, "service proxy", what, place, (f"{path.vantage.name}: {counted([path.result])}", *lines), look
    )


def _configured(world: World, path: Path) -> Finding | None:
    """A pod whose resolv.conf does not lead to the cluster's DNS, with the search list of its namespace."""
    vantage = path.vantage
    if path.address.kind == "dns" or vantage.kind in (OUTSIDE, NODE_VANTAGE):
        return None
    found = ResolvConf.parse(vantage.read_file("/etc/resolv.conf"))
    known = world.cluster.dns.nameservers if world.cluster.dns else ()
    own = tuple(s for s in found.nameservers if s in known or is_link_local(s))
    wanted = world.cluster.search_list(vantage.namespace)
    if own and (found.search[: len(wanted)] == wanted):
        return None
    what = "the resolv.conf of its pods lacks the cluster's name server or search domains"
    lines = (
        f"nameservers {' '.join(found.nameservers) or 'none'}; search {' '.join(found.search) or 'none'}",
    )
    see = (
        f"kubectl -n {vantage.namespace} exec {vantage.pod} -- cat /etc/resolv.conf",
        "the kubelet's clusterDNS and clusterDomain",
    )
    return Finding(NODE, "kubelet", what, (vantage.name.rpartition("@")[2],), lines, see)


def queried_name(path: Path) -> str:
    """The name that the path is about."""
    message = path.series.more.get("message") if path.series else None
    return dns_message.question(str(message)) if message else path.address.host


def question(world: World, path: Path, subject: Subject | None) -> tuple[str, Callable[[Answer], bool]]:
    """The DNS message that the path stands for, and whether an answer to it is right."""
    if path.series is not None and path.judged is not None:
        return str(path.series.more["message"]), path.judged
    host = path.address.host
    whole = host
    if not host.endswith("."):
        search = world.cluster.search_list(path.vantage.namespace or world.namespaces.services)
        whole = (
            f"{host}."
            if host.endswith(world.cluster.domain)
            else f"{host}.{search[min(host.count('.'), 2)]}."
        )
    rdtype = "AAAA" if path.address.family == 6 else "A"
    message = dns_message.query(whole, rdtype)
    if path.judged is not None:
        return message, path.judged
    exactly = path.wanted if path.wanted is not None else addresses(subject, rdtype)

    def right(answer: Answer) -> bool:
        reply = dns_message.read(answer.detail, rdtype) if answer.outcome in REPLIES else None
        if reply is None:
            return False
        if exactly is None:
            return bool(reply.records)
        return reply.records <= exactly if reply.truncated else reply.records == exactly

    return message, right


def addresses(subject: Subject | None, rdtype: str) -> frozenset[str] | None:
    """What the API says that the Service's name stands for; None if that is not known."""
    if subject is None or subject.service["spec"].get("type") == "ExternalName":
        return None
    ips = [ip for ip in subject.service["spec"].get("clusterIPs") or () if ip != "None"]
    found = ips or [endpoint.address for endpoint in subject.endpoints]
    return frozenset(ip for ip in found if (":" in ip) == (rdtype == "AAAA"))


def _replied(result: SeriesResult) -> bool:
    return bool(result.outcomes.keys() & REPLIES)


def _truncated(result: SeriesResult, right: Callable[[Answer], bool]) -> bool:
    """Whether every answer is right as far as it goes, and says that it is incomplete."""
    replies = [dns_message.read(p.answer.detail, "A") for p in result.probes if right(p.answer)]
    return len(replies) == len(result.probes) and all(reply and reply.truncated for reply in replies)


def _answers(result: SeriesResult) -> bool:
    """Whether a server answered any query with what it is there for: not SERVFAIL, or an error."""
    return bool(result.outcomes.keys() & (REPLIES - {SERVFAIL}))


def _port(path: Path) -> int:
    return path.address.port if path.address.kind == "dns" else 53


def _only_lost(path: Path, right: Callable[[Answer], bool]) -> bool:
    """Whether nothing was wrong but that some queries were not answered."""
    some = [probe.answer for probe in path.result.probes]
    silent = [answer for answer in some if answer.outcome in (TIMEOUT, SERVFAIL)]
    answered = [answer for answer in some if answer.outcome not in (TIMEOUT, SERVFAIL)]
    return bool(answered and silent) and (path.judged is None or all(map(right, answered)))
