"""Which kind of DNS queries fails alone: by transport, by record type, by what they say of sizes, or two at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kubereach.diagnosis.bench import Bench, counted
from kubereach.model.outcome import NODATA, NXDOMAIN, OK, TIMEOUT, SeriesResult
from kubereach.probe import Series, Vantage, dns_message

#: what a server says that does what it is there for, whatever there is of the name
_ANSWERS = frozenset({OK, NODATA, NXDOMAIN})
#: queries of another kind that each server gets
_FEW = 10
_TYPES = {"A": "AAAA", "AAAA": "A"}


@dataclass(frozen=True)
class Kind:
    """Queries that fail, and which ones beside them do not.

    `queries` is what fails ("queries over TCP"), `works` what is answered ("queries over UDP are answered"); both are
    empty where nothing is known to work. `large`: it is answers over 512 bytes that fail.
    """

    queries: str = "queries"
    works: str = ""
    evidence: tuple[str, ...] = ()
    large: bool = False

    def beside(self, what: str) -> str:
        """The sentence, and what works beside it."""
        return f"{what}; {self.works}" if self.works else what


@dataclass(frozen=True)
class Server:
    """One that does not answer: what it is called in evidence, and where it is."""

    name: str
    host: str
    port: int


def kind_of(bench: Bench, vantage: Vantage, series: Series, servers: Sequence[Server]) -> Kind:
    """What all the servers answer beside the series' queries, which they do not: one thing of the query is changed.

    The first change that helps is the dimension: the size of the answer, EDNS, the transport, the record type.
    """
    few = replace(series, count=_FEW, stop_after=_FEW // 2, patient=True)
    for queries, others, more in _changed(series.more):
        results = bench.run([(vantage, replace(few, host=s.host, port=s.port, more=more)) for s in servers])
        if servers and all(_answered(result) for result in results):
            lines = [f"{s.name}, {others}: {counted([r])}" for s, r in zip(servers, results, strict=True)]
            return Kind(queries, f"{others} are answered", tuple(lines[:2]), queries == _LARGE)
    return Kind()


_LARGE = "queries over UDP with answers over 512 bytes"


def _changed(more: Mapping[str, object]) -> list[tuple[str, str, dict[str, object]]]:
    """What fails if another query helps, what that query is, and its fields."""
    message, tcp = str(more["message"]), more.get("transport") == "tcp"
    asked = dns_message.asked(message)
    plain = {"message": message, "transport": "tcp" if tcp else "udp"}
    other = _TYPES.get(asked.rdtype, "")
    found: list[tuple[str, str, dict[str, object]]] = []
    if asked.payload:
        # the other address type of a name has no records as a rule: a small answer, with EDNS too
        small = dns_message.query(asked.name, other or "TXT", asked.payload)
        found.append((_LARGE, "queries with smaller answers", {**plain, "message": small}))
        without = dns_message.query(asked.name, asked.rdtype)
        found.append(("queries with EDNS", "queries without EDNS", {**plain, "message": without}))
    here, there = ("TCP", "UDP") if tcp else ("UDP", "TCP")
    found.append((f"queries over {here}", f"queries over {there}", {**plain, "transport": there.lower()}))
    if other:
        changed = dns_message.query(asked.name, other, asked.payload)
        found.append(
            (f"{asked.rdtype} queries", f"{other} queries", {**plain, "message": changed}),
        )
    return found


def _answered(result: SeriesResult) -> bool:
    """Whether a server answers, right or wrong: of the others it answered none at all, so that one is lost may be."""
    good = sum(result.outcomes[word] for word in _ANSWERS)
    return 2 * good > len(result.probes) and result.outcomes.keys() <= _ANSWERS | {TIMEOUT}
