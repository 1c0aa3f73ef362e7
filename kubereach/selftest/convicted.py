"""Whether a report's own paths contradict what it blames.

A node that is blamed must lose more than nodes that are not, of equal questions: those of one check, by one way, to one
address or port, from vantages of one kind. It complains only where the report itself has the evidence: a node that is
blamed lost nothing, others did, and that is no chance.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubereach.model.finding import PROXY

_EVERY = "every node"
#: of chance, for one comparison
_CHANCE = 1e-4
#: host and port of a path's address: "nodeport http://172.18.0.2:32310 (nodeport on worker)"
_ENDPOINT = re.compile(r"://(\[[^\]]+\]|[^:/ ]+):(\d+)")
#: which of the nodes it is the address of, where it is one of them
_ON_NODE = re.compile(r" on [\w.-]+\)$")


@dataclass
class _Count:
    """Probes of one place, and those of them that were not as they must be."""

    bad: int = 0
    all: int = 0

    def add(self, bad: int, all: int) -> None:
        self.bad += bad
        self.all += all


#: by question: by short name of a node
_Asked = Mapping[str, Mapping[str, _Count]]


def contradictions(report: dict[str, Any]) -> list[str]:
    """A sentence for each node that a cause blames against the evidence of its own checks' paths."""
    short = [_short(name) for name in report["cluster"].get("nodes") or ()]
    found = []
    for cause in report.get("causes") or ():
        asked = _asked(report, cause["checks"], short)
        pair = [word for word in cause["object"].split() if word in short]
        if not asked or len(short) < 2 or pair:
            continue
        blamed = [node for node in cause["nodes"] if node in short]
        if _EVERY in cause["nodes"]:
            found += [f"{text} ({cause['sentence']})" for text in _only_one(asked, short)]
            continue
        for node in blamed:
            others = [one for one in short if one != node]
            for text in _innocent(asked, node, others, translates=cause["layer"] == PROXY):
                found.append(f"{text} ({cause['sentence']})")
    return found


def _only_one(asked: _Asked, nodes: list[str]) -> Iterator[str]:
    """Of a cause on every node: one node fails alone, and each other one was asked as much and lost nothing."""
    for node in nodes:
        rest = [one for one in nodes if one != node]
        compared = [_compared(asked, one, node) for one in rest]
        if all(mine.bad == 0 and _is_no_chance(mine, other) for mine, other in compared):
            (mine, other) = compared[0]
            yield (
                f"every node is blamed, and {node} alone lost any: {other.bad} of {other.all}, "
                f"{rest[0]} 0 of {mine.all}"
            )


def _innocent(asked: _Asked, node: str, others: list[str], *, translates: bool) -> Iterator[str]:
    """That a blamed node lost nothing, where another one lost.

    What a service proxy does shows at the node that translates. Of other layers a node may be the one that packets go
    to: then each other node loses, and a third one that loses nothing speaks for it.
    """
    for other in others:
        mine, theirs = _compared(asked, node, other)
        if mine.bad or not _is_no_chance(mine, theirs):
            continue
        thirds = [_compared(asked, one, other) for one in others if one != other]
        if translates or any(third.bad == 0 and _is_no_chance(third, theirs) for third, theirs in thirds):
            yield f"{node} is blamed and lost 0 of {mine.all}, {other} lost {theirs.bad} of {theirs.all}"
            return


def _compared(asked: _Asked, one: str, other: str) -> tuple[_Count, _Count]:
    """What two nodes lost of the questions that both were asked."""
    first, second = _Count(), _Count()
    for places in asked.values():
        if one in places and other in places:
            first.add(places[one].bad, places[one].all)
            second.add(places[other].bad, places[other].all)
    return first, second


def _is_no_chance(good: _Count, bad: _Count) -> bool:
    """Fisher's exact test, one-sided: that all bad probes are the second's, if both lose alike."""
    if not (good.all and bad.bad):
        return False
    total = good.all + bad.all
    return math.comb(bad.all, bad.bad) / math.comb(total, bad.bad) < _CHANCE


def _asked(report: dict[str, Any], checks: list[str], nodes: list[str]) -> _Asked:
    """The probes of these checks, by question and by the node whose part it was."""
    addresses = dict(zip(report["cluster"].get("node addresses") or (), nodes, strict=False))
    found: dict[str, dict[str, _Count]] = defaultdict(lambda: defaultdict(_Count))
    for check in report["checks"]:
        if check["id"] not in checks:
            continue
        for path in check.get("paths") or ():
            question, node = _question(path, addresses)
            if node:
                lost = path["probes"] - path["outcomes"].get("ok", 0)
                # answers that are wrong are answers
                bad = 0 if path["conforming"] else lost or path["probes"]
                key = f"{check['id']} {check['case']} {question}"
                found[key][node].add(bad, path["probes"])
    return found


def _question(path: dict[str, Any], addresses: Mapping[str, str]) -> tuple[str, str]:
    """What is asked, and the node that is asked for it: whose address it is, else where the vantage is."""
    match = _ENDPOINT.search(path["address"])
    host = match[1].strip("[]") if match else ""
    rest = f"{path['vantage_kind']} {path['way']} {path['change']}"
    if match and host in addresses:
        return f"{rest} {path['vantage']} {match[2]}", addresses[host]
    if not path["node"]:
        return "", ""
    return f"{rest} {_ON_NODE.sub('', path['address'])}", _short(path["node"])


def _short(name: str) -> str:
    return name.removeprefix("kubereach-")
