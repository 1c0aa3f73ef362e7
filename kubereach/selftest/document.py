"""docs/faults.md: both tables as they are declared, which the selftest holds true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kubereach.model.check import Check
from kubereach.selftest.inverse import inverse
from kubereach.selftest.row import Row
from kubereach.selftest.table import ABSENT
from kubereach_lab.faults import Fault

_HEAD = (
    "# What the checks catch\n"
    "\n"
    "Each fault below is a defect that the lab can have on demand (`kubereach run --fault "
    "NAME`, `kubereach lab faults`).\n"
    "`kubereach selftest` runs all checks on healthy labs, where each must pass, and on a "
    "lab with each of the faults, where\n"
    "exactly the named checks must fail and the report must name the layer.\n"
    "`kubereach selftest --write` writes this page.\n"
    "\n"
)
_FAULTS = (
    "## Faults\n"
    "\n"
    "**Bold** checks fail; *(noted)* ones only report; *(error)* ones cannot measure, "
    "because the fault breaks their control.\n"
    '"Others may fail" names checks whose result depends on chance, or on how much the fault '
    "breaks.\n"
    "\n"
    "| fault | defect | layer | seen in | caught by |\n"
    "|---|---|---|---|---|\n"
)
_LUCK = (
    "\n"
    "## Intermittent faults\n"
    "\n"
    "The calculated probability that a run misses them; `kubereach selftest --times 50` "
    "counts in 50 runs of each:\n"
    "\n"
    "| fault | probability of a miss |\n"
    "|---|---|\n"
)
_RANDOM = (
    "\n"
    "## Faults that nobody has foreseen\n"
    "\n"
    "`kubereach selftest --random 100 --seed 1` draws a hundred faults from the seed, starts a "
    "lab of three nodes for each, and puts\n"
    "the fault in from outside, by rules of nftables in the nodes' network namespaces. "
    "Nothing in the lab or in the checks knows of it.\n"
    "A fault has\n"
    "\n"
    "- a place: the way from one node's pods to another's, all that one node's pods get or "
    "send, a node's own processes, cluster IPs, node ports\n"
    "  or load-balancer addresses on one node or on all, one Service, one endpoint, one DNS "
    "replica, cluster DNS, a node's own address;\n"
    "- packets there: by protocol, port, source port, size, state of the connection, DSCP "
    "mark, a share of them, or for a time only;\n"
    "- what becomes of them: lost, refused, reset, throttled, 200 ms late, there twice, led "
    "to another pod, with another source IP, answered falsely.\n"
    "\n"
    "The run is judged by its report alone: the fault is *detected* if the run is not "
    "conformant (of what is late or there twice, a note that names\n"
    "the place will do), and *located* if the first cause names an acceptable layer and "
    "exactly the right nodes, and the Service, pod or replica\n"
    "where it is one. A cause that calls a node, pod or Service broken that the fault does "
    "not concern is a *false statement*. The exit code is 1\n"
    "below 95 % detected or 90 % located, or with one false statement, and 3 where a fault "
    "could not be put in. `--seed 1 --only 17` repeats\n"
    "one fault; with `--report-dir` each run keeps its report, its output and `fault.json`, "
    "the rules that were applied.\n"
    "\n"
    "In every run of the selftest, a report must not be contradicted by its own paths: a node "
    "that is blamed and lost nothing, while others lost\n"
    "some of the same questions, is a problem.\n"
)
_CHECKS = (
    "\n"
    "## Checks\n"
    "\n"
    "The faults that each check catches; no other check catches those in bold.\n"
    "\n"
    "| check | level | catches |\n"
    "|---|---|---|\n"
)


def document(faults: Mapping[str, Fault], table: Mapping[str, Row], checks: Iterable[Check]) -> str:
    """The page. The same for the same tables, whoever runs it and when."""
    known = list(checks)
    lines = [_HEAD + _FAULTS.rstrip("\n")]
    for name, fault in sorted(faults.items()):
        caught = _caught(table[name])
        lines.append(f"| {name} | {fault.what} | {fault.layer} | {fault.bug} | {caught} |")
    lines.append(_LUCK.rstrip("\n"))
    lines += [f"| {name} | {row.overlooked} |" for name, row in sorted(table.items()) if row.overlooked]
    lines.append(_RANDOM.rstrip("\n"))
    lines.append(_CHECKS.rstrip("\n"))
    for one in inverse(table, known):
        shown = [f"**{name}**" if name in one.alone else name for name in one.faults]
        text = ", ".join(shown) or ("" if not one.idle else "nothing")
        if one.needs in one.check.needs and one.check.id in ABSENT:
            text += f" ({ABSENT[one.check.id]})"
        lines.append(f"| {one.check.id} | {one.check.level} | {text} |")
    return "\n".join(lines) + "\n"


def _caught(row: Row) -> str:
    if row.stopped:
        return f"the run: it stops with exit code 3, “{row.stopped}”"
    if not row.verdicts:
        return "no check: kubereach recovers"
    parts = [f"**{check}**" for check in sorted(row.fail)]
    for word, checks in (("noted", row.noted), ("error", row.error), ("unsupported", row.unsupported)):
        parts += [f"{check} *({word})*" for check in sorted(checks)]
    others = f"; others may fail: {', '.join(f'`{glob}`' for glob in row.perhaps)}" if row.perhaps else ""
    with_options = f" (with `{' '.join(row.options)}`)" if row.options else ""
    return ", ".join(parts) + others + with_options
