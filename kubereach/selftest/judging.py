"""From a run's report to what it says of the suites: detected, attributed, located, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from kubereach.model.verdicts import ERROR, FAIL, NOTED, PASS, UNSUPPORTED
from kubereach.selftest.convicted import contradictions
from kubereach.selftest.ended import Ended
from kubereach.selftest.row import Row
from kubereach.selftest.table import ABSENT, TABLE
from kubereach.selftest.trial import Trial
from kubereach_lab.faults import FAULTS

#: of several cases of a check the worst counts
_ORDER = (PASS, UNSUPPORTED, NOTED, ERROR, FAIL)


@dataclass(frozen=True)
class Judgement:
    """Of one trial. A None says that the question does not arise; `problems` are what makes the selftest fail."""

    name: str
    detected: bool | None
    attributed: bool | None
    located: bool | None
    seconds: float
    cpu: float
    #: the checks that failed, or were noted, in this run
    caught_by: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()
    #: why this machine cannot have the fault
    unmeasurable: str = ""
    note: str = ""


@dataclass
class _Problems:
    found: list[str] = field(default_factory=list)

    def add(self, what: str, checks: Collection[str]) -> None:
        if checks:
            self.found.append(f"{what}: {', '.join(sorted(checks))}")

    def compare(self, found: dict[str, str], expected: dict[str, str], unrelated: str) -> None:
        """The verdicts of a run that are not as expected; `unrelated` is what those are called that nobody expects."""
        self.add("not caught by", expected.keys() - found.keys())
        self.add(unrelated, found.keys() - expected.keys())
        wrong = {check for check in expected.keys() & found.keys() if expected[check] != found[check]}
        self.add("another verdict", {f"{check} ({found[check]}, not {expected[check]})" for check in wrong})

    def stopped(self, report: dict[str, Any]) -> None:
        if error := (report["run"].get("error") or {}).get("message", ""):
            self.found.append(f"not measured: {error}")

    def misplaced(self, report: dict[str, Any], faults: Collection[str]) -> None:
        for layer, checks in misplaced(report, faults).items():
            self.add(f"attributed to {layer}", checks)

    def contradicted(self, report: dict[str, Any]) -> None:
        self.found += [f"contradicted by its own paths: {text}" for text in contradictions(report)]

    def locate(self, report: dict[str, Any], fault: str) -> bool | None:
        """Whether the report says where the fault is, see `locate`; it is a problem if it says another place."""
        where, located = locate(report, fault)
        if located is False:
            place = " on ".join(filter(None, [FAULTS[fault].layer, ", ".join(_nodes(report, fault))]))
            self.found.append(f"located in {where}, expected {place}")
        self.misplaced(report, [fault])
        return located


def judge(ended: Ended[Trial], quick_ids: Collection[str] = ()) -> Judgement:
    """Compare a run with its row of the table. Of a quick run only `quick_ids`, the checks in it, count."""
    trial, row, report = ended.trial, ended.trial.row, ended.report
    if not report:
        return Judgement(
            trial.fault, False, False, None, ended.seconds, ended.cpu, problems=(_last_words(ended),)
        )
    if evidence := lacking(row, report):
        return Judgement(trial.fault, None, None, None, ended.seconds, ended.cpu, unmeasurable=evidence)
    if row.stopped:
        return _stopped(ended)
    found = {check: word for check, word in verdicts(report).items() if not row.is_open(check)}
    expected = {check: word for check, word in row.verdicts.items() if not trial.quick or check in quick_ids}
    problems = _Problems()
    alarm = trial.healthy or not row.verdicts
    problems.compare(found, expected, "false alarm" if alarm else "unrelated failure")
    problems.stopped(report)
    attributed = not problems.found
    caught = frozenset(check for check, word in verdicts(report).items() if word in (FAIL, NOTED))
    detected = bool(found.keys() & expected.keys()) if expected else None
    code = 1 if FAIL in expected.values() else 3 if ERROR in expected.values() else 0
    if attributed and not row.perhaps and ended.code != code:
        problems.found.append(f"exit code {ended.code}, expected {code}")
    located = None if trial.healthy else problems.locate(report, trial.fault)
    problems.contradicted(report)
    return Judgement(
        trial.fault,
        detected,
        None if trial.healthy else attributed,
        located,
        ended.seconds,
        ended.cpu,
        caught,
        tuple(problems.found),
        note="" if expected or trial.healthy else "recovered",
    )


def lacking(row: Row, report: dict[str, Any]) -> str:
    """Why this machine cannot have the fault, by the report of a run on it; empty if it can."""
    if not (row.needs and report):
        return ""
    feature = report["features"].get(row.needs, {})
    return "" if feature.get("present") else str(feature.get("evidence", f"{row.needs} is absent"))


def judge_together(ended: Ended[Trial]) -> tuple[list[Judgement], list[str]]:
    """Of a run with several faults, one for each; none if it is not exactly as all of their rows say, and why not."""
    trial, row, report = ended.trial, ended.trial.row, ended.report
    if not report:
        return [], [_last_words(ended)]
    problems = _Problems()
    problems.compare(verdicts(report), row.verdicts, "unrelated failure")
    problems.stopped(report)
    code = 1 if row.fail else 0
    if ended.code != code:
        problems.found.append(f"exit code {ended.code}, expected {code}")
    problems.misplaced(report, trial.faults)
    problems.contradicted(report)
    judged = []
    for name in trial.faults:
        own = TABLE[name].caught_by
        where, located = locate(report, name, own)
        if located is False or (own and located is None):
            problems.found.append(f"{name} located in {where or 'no layer'}")
        detected = True if own else None
        share = ended.cpu / len(trial.faults)
        note = "" if own else "recovered"
        judged.append(Judgement(name, detected, True, located, ended.seconds, share, own, note=note))
    return ([], problems.found) if problems.found else (judged, [])


def _last_words(ended: Ended[Trial]) -> str:
    last = (ended.output.strip().splitlines() or ["nothing"])[-1]
    return f"no report, exit code {ended.code}; last line: {last}"


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    """Every check that did not pass, with its verdict, but what labs have not and defects of Kubernetes itself."""
    found: dict[str, str] = {}
    for check in report["checks"]:
        word = check["verdict"]
        absent = word == UNSUPPORTED and check["id"] in ABSENT
        if word != PASS and not check["known_defect"] and not absent:
            found[check["id"]] = max(word, found.get(check["id"], PASS), key=_rank)
    return found


def _rank(word: str) -> int:
    return _ORDER.index(word) if word in _ORDER else len(_ORDER)


def locate(
    report: dict[str, Any], fault: str, checks: Collection[str] | None = None
) -> tuple[str, bool | None]:
    """What the report's first cause names, the layer and nodes, and whether that is where the fault is.

    With `checks`, the first cause of one of these. None where nothing is diagnosed: no check failed, or the report
    knows no causes.
    """
    causes = report.get("causes")
    failed = any(check["verdict"] == FAIL for check in report["checks"])
    if causes is None or not (causes or failed):
        return "", None
    if causes and checks is not None:
        causes = [cause for cause in causes if {*cause["checks"]} & {*checks}]
    if not causes:
        return "no layer", False
    first = causes[0]
    # a cause between two nodes names them in its object: "pod network from worker to worker2"
    words = {*first["nodes"], *first["object"].split()}
    named = [name for name in _names(report) if name in words]
    found = " on ".join(filter(None, [first["layer"], ", ".join(named)]))
    wanted = _nodes(report, fault)
    return found, first["layer"] == FAULTS[fault].layer and (not wanted or named == wanted)


def misplaced(report: dict[str, Any], faults: Collection[str]) -> dict[str, set[str]]:
    """Checks that any cause puts down to a layer in which none of the faults is that they catch, by that layer.

    What may or may not fail with a fault is not looked at.
    """
    right: dict[str, set[str]] = {}
    for fault in faults:
        for check in TABLE[fault].caught_by:
            right.setdefault(check, set()).add(FAULTS[fault].layer)
    found: dict[str, set[str]] = {}
    for cause in report.get("causes") or ():
        checks = {
            check for check in cause["checks"] if cause["layer"] not in right.get(check, {cause["layer"]})
        }
        if checks:
            found.setdefault(cause["layer"], set()).update(checks)
    return found


def _names(report: dict[str, Any]) -> list[str]:
    """The nodes' names as reports shorten them."""
    nodes: list[str] = report["cluster"]["nodes"]
    return [name.removeprefix("kubereach-") for name in nodes]


def _nodes(report: dict[str, Any], fault: str) -> list[str]:
    """The nodes that have the fault; empty where it is everywhere."""
    names = _names(report)
    return [names[number] for number in FAULTS[fault].nodes]


def _stopped(ended: Ended[Trial]) -> Judgement:
    """Of a fault that keeps kubereach from measuring: no verdict on the network, but why there is none."""
    row, report = ended.trial.row, ended.report
    error = (report["run"].get("error") or {}).get("message", "")
    failed = {check for check, word in verdicts(report).items() if word == FAIL}
    problems = _Problems()
    problems.add("a verdict on the network", failed)
    detected = ended.code == 3 and row.stopped in error
    if not detected:
        ending = f"exit code {ended.code}, {error or 'no error'}"
        problems.found.append(f"did not stop with exit code 3 and {row.stopped!r}: {ending}")
    located = problems.locate(report, ended.trial.fault)
    problems.contradicted(report)
    return Judgement(
        ended.trial.fault,
        detected,
        not failed,
        located,
        ended.seconds,
        ended.cpu,
        problems=tuple(problems.found),
        note="stopped with exit code 3" if detected else "",
    )
