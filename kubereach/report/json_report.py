"""report.json: the run's record for machines. Its schema is published as docs/report-v1.schema.json."""

from __future__ import annotations

import json
import os
import platform
import re
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import kubereach
from kubereach.diagnosis.causes import Cause
from kubereach.model.check import Check
from kubereach.model.errors import KubereachError
from kubereach.model.features import FeatureState
from kubereach.model.known_defects import KnownDefect
from kubereach.model.percentile import percentile
from kubereach.model.settings import Settings
from kubereach.model.verdicts import ERROR, FAIL, NOTED, PASS, UNSUPPORTED
from kubereach.report.outliers.outlier import Outlier
from kubereach.report.record import CheckRecord, Record
from kubereach.report.record import Path as ProbedPath

SCHEMA = "kubereach.io/report/v1"
_MS = 1000.0
#: user and password in a URL
_USER_INFO = re.compile(r"(?<=://)[^/\s\"'@]+(?=@)")


@dataclass(frozen=True)
class Surroundings:
    """What a report says beside the record: how the run was set up, and why it is not simply conformant."""

    settings: Settings
    target: str
    description: str = ""
    features: dict[str, FeatureState] = field(default_factory=dict)
    reason: str = ""
    error: KubereachError | None = None
    not_run: tuple[Check, ...] = ()


def document(record: Record, around: Surroundings) -> dict[str, Any]:
    """The report as JSON types, valid by `schema`. Latencies are milliseconds, everything else seconds."""
    started = (
        datetime.fromtimestamp(record.started, timezone.utc) if record.started else datetime.now(timezone.utc)
    )
    error = around.error
    incomplete: list[str] = []

    def part(name: str, make: Callable[[], Any], otherwise: Any) -> Any:
        """A part that goes wrong costs only itself."""
        try:
            return make()
        except Exception as error:
            incomplete.append(f"{name}: {type(error).__name__}: {error}")
            return otherwise

    outliers = part("outliers", record.outliers, [])
    return {
        "schema": SCHEMA,
        "verdict": record.verdict,
        "exit_code": record.exit_code,
        "reason": around.reason,
        "run": {
            "started": started.isoformat(timespec="milliseconds"),
            "seconds": round(record.seconds, 3),
            "world_seconds": round(record.world_seconds, 3),
            "pods": record.pods,
            "vantages": list(record.vantages),
            "changes": record.changes,
            "notes": [*record.notes, *(one.note for one in outliers)],
            "error": {"message": error.message, "remedy": error.remedy} if error else None,
        },
        "target": {"name": around.target, "description": around.description},
        "cluster": record.cluster,
        "versions": _versions(),
        "features": {
            name: {"present": f.present, "evidence": f.evidence} for name, f in around.features.items()
        },
        "settings": {name: value for name, value, _ in around.settings.described()},
        "totals": _totals(record, around),
        "convergence": part(
            "convergence", lambda: {what: _spread(s) for what, s in record.convergence().items()}, {}
        ),
        "outliers": [_outlier(one) for one in outliers],
        "causes": part("causes", lambda: [_cause(cause) for cause in record.causes()], []),
        "checks": [_check(result) for result in record.results],
        "not_run": sorted(check.id for check in around.not_run),
        "incomplete": incomplete,
    }


def write(report: dict[str, Any], folder: Path) -> Path:
    """Write ``folder/report.json`` in one step, so that a reader never sees half of it. Raises `OSError`.

    Nobody but its owner can read it: it tells names and addresses of a cluster. Users and passwords in URLs are left
    out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.json"
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".report-", suffix=".json")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(_USER_INFO.sub("...", _text(report)))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _text(report: dict[str, Any]) -> str:
    """JSON with a line for each check, cause and the like: indenting all of it would take ten times as long."""
    encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
    parts = []
    for key, value in report.items():
        if isinstance(value, list) and value:
            text = "[\n  " + ",\n  ".join(encode(item) for item in value) + "\n ]"
        else:
            text = encode(value)
        parts.append(f" {encode(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def schema() -> dict[str, Any]:
    """The published JSON Schema of reports, as the package carries it."""
    text = Path(__file__).with_name("report-v1.schema.json").read_text(encoding="utf-8")
    return cast("dict[str, Any]", json.loads(text))


def _check(result: CheckRecord) -> dict[str, Any]:
    check = result.check
    return {
        "id": result.id,
        "case": result.case,
        "level": check.level if check else "",
        "requirement": check.requirement if check else "",
        "source": check.source if check else "",
        "needs": list(check.needs) if check else [],
        "verdict": result.verdict or "not finished",
        "message": result.message,
        "seconds": round(result.seconds, 3),
        "judged": result.judged,
        "minimum": result.minimum,
        "failures": [asdict(failure) for failure in result.failures],
        "notes": result.notes,
        "known_defect": _defect(result.defect),
        "paths": [_path(path) for path in result.paths],
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "layer": cause.layer,
        "object": cause.object,
        "nodes": list(cause.nodes),
        "sentence": cause.sentence,
        "also": cause.what[1:],
        "evidence": cause.evidence,
        "next": cause.next,
        "checks": cause.checks,
    }


def _outlier(one: Outlier) -> dict[str, Any]:
    place = one.place
    return {
        "what": one.what,
        "place": {
            "from": place.source,
            "to": place.target,
            "both_ways": place.both,
            "node": place.node,
            "pod": place.pod,
        },
        "value": round(one.value, 3),
        "others": round(one.others, 3),
        "unit": one.unit,
        "text": one.text,
    }


def _defect(defect: KnownDefect | None) -> dict[str, str] | None:
    if defect is None:
        return None
    return {"issue": defect.issue, "versions": defect.versions, "what": defect.what}


def _path(path: ProbedPath) -> dict[str, Any]:
    return {
        "vantage": path.vantage,
        "vantage_kind": path.kind,
        "node": path.node,
        "way": path.way,
        "address": path.address,
        "conforming": path.conforming,
        "probes": path.probes,
        "outcomes": path.outcomes,
        "latency_ms": {
            "p50": _ms(path.percentile(0.5)),
            "p99": _ms(path.percentile(0.99)),
            "max": _ms(max(path.latencies, default=None)),
        },
        "converged_seconds": round(path.converged, 4),
        "change": path.change,
        "duplicates": path.duplicates,
    }


def _spread(seconds: list[float]) -> dict[str, float | int | None]:
    return {
        "samples": len(seconds),
        "p50": _ms(percentile(seconds, 0.5)),
        "p99": _ms(percentile(seconds, 0.99)),
        "max": _ms(max(seconds)),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * _MS, 3)


def _totals(record: Record, around: Surroundings) -> dict[str, int]:
    counted = {word: record.count(word) for word in (PASS, FAIL, UNSUPPORTED, ERROR, NOTED)}
    probes = sum(path.probes for result in record.results for path in result.paths)
    return {"selected": len(record.results), **counted, "not_run": len(around.not_run), "probes": probes}


def _versions() -> dict[str, str]:
    versions = {"kubereach": kubereach.__version__, "python": platform.python_version()}
    return {**versions, **{package: metadata.version(package) for package in ("pytest", "kubernetes")}}
