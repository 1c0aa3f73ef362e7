"""The record of a run and its renderings, fed with events alone."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from kubereach.model.check import CORE, DOCS, INFO, Check
from kubereach.model.errors import CannotMeasure, Failure
from kubereach.model.events import (
    Changed,
    CheckFinished,
    CheckStarted,
    Event,
    Probed,
    RunFinished,
    RunStarted,
    WorldReady,
)
from kubereach.model.settings import Settings
from kubereach.report import failures, json_report, matrix, summary
from kubereach.report.json_report import Surroundings
from kubereach.report.progress import LiveProgress, PlainProgress
from kubereach.report.record import Record
from kubereach.report.symbols import ASCII, UNICODE, symbols_for

ONE = Check("demo.one", CORE, (), DOCS, "One works.", "", Path("test_demo.py"))
TWO = Check("demo.two", INFO, (), DOCS, "Two works.", "", Path("test_demo.py"))
KINDS = ("pod", "other-namespace", "node")


def probed(
    kind: str, node: str, way: str, conforming: bool = True, check: str = "demo.one", **outcomes: int
) -> Probed:
    name = f"{kind}@{node}" if node else kind
    latencies = (0.0004, 0.0006, 0.0008)
    return Probed(
        check,
        name,
        kind,
        node,
        way,
        "http://10.96.0.7:80",
        conforming,
        outcomes or {"ok": 3},
        latencies,
        0.01,
    )


def record_of(*events: Event) -> Record:
    record = Record({"demo.one": ONE, "demo.two": TWO})
    for event in (
        RunStarted("lab", ("demo.one",), {"version": "v1"}),
        WorldReady(1.0, 17, ("pod@a",)),
        *events,
    ):
        record(event)
    return record


def text_of(record: Record, width: int = 100, marks: object = UNICODE) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    assert marks in (UNICODE, ASCII)
    for table in matrix.render(matrix.build(record), UNICODE if marks is UNICODE else ASCII, width):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_vantages_that_agree_are_one_row() -> None:
    record = record_of(
        CheckStarted("demo.one"),
        *(probed(kind, node, way) for kind in KINDS for node in "abc" for way in ("dns", "clusterip")),
        probed("outside", "", "nodeport"),
    )
    assert text_of(record) == [
        "p50 in ms, from clusterip nodeport dns",
        "pod             ✓ 0.60             ✓ 0.60",
        "other-namespace ✓ 0.60             ✓ 0.60",
        "node            ✓ 0.60             ✓ 0.60",
        "outside                   ✓ 0.60",
    ]


def test_the_worst_of_a_cell_counts_and_rows_that_differ_are_shown() -> None:
    record = record_of(
        CheckStarted("demo.one"),
        probed("pod", "a", "clusterip"),
        probed("pod", "b", "clusterip"),
        probed("pod", "b", "clusterip", False, timeout=1),
        probed("node", "a", "clusterip", False, refused=3),
        probed("node", "b", "clusterip", False, refused=3),
    )
    assert text_of(record, marks=ASCII) == [
        "p50 in ms, from clusterip",
        "pod             NO 0.60",
        "  a             ok 0.60",
        "  b             NO 0.60",
        "node            NO",
    ]


def test_closed_and_noted_paths_have_marks_of_their_own() -> None:
    record = record_of(
        CheckStarted("demo.one"),
        probed("outside", "", "clusterip", refused=3),
        CheckStarted("demo.two"),
        probed("outside", "", "dns", False, "demo.two", ok=3),
    )
    assert text_of(record)[1] == "outside         –         i 0.60"
    assert (
        matrix.legend(matrix.build(record), UNICODE) == "– no answer, as required   i noted by an info check"
    )


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_the_matrix_fits(width: int) -> None:
    ways = (*matrix.WAYS, "a-way-of-a-later-version")
    paths = [probed(kind, node, way) for kind in KINDS for node in "abc" for way in ways]
    lines = text_of(record_of(CheckStarted("demo.one"), *paths), width)
    headers = [line for line in lines if line.startswith("p50 in ms, from")]
    assert [way for line in headers for way in line.split()[4:]] == list(ways)
    assert len(lines) == len(headers) * (1 + len(KINDS))
    assert max(map(len, lines)) <= max(width, 16 + len(ways[-1]))
    assert not any("…" in line for line in lines)


def test_a_kind_of_vantage_is_in_the_tables_that_say_something_of_it() -> None:
    paths = [probed("pod", "a", way) for way in matrix.WAYS] + [probed("outside", "", "nodeport")]
    lines = text_of(record_of(CheckStarted("demo.one"), *paths), 60)
    assert sum(line.startswith("pod") for line in lines) > 1
    assert sum(line.startswith("outside") for line in lines) == 1


def test_large_clusters_show_failing_nodes_only() -> None:
    nodes = [f"n{i}" for i in range(30)]
    paths = [probed("pod", node, "clusterip", node != "n7") for node in nodes]
    lines = text_of(record_of(CheckStarted("demo.one"), *paths))
    assert [line.split()[0] for line in lines[1:]] == ["pod", "n7"]


def test_a_probe_belongs_to_the_running_case_of_its_check() -> None:
    record = record_of(
        probed("pod", "a", "clusterip"),
        CheckStarted("demo.one", "x"),
        CheckStarted("demo.one", "y"),
        probed("pod", "a", "clusterip"),
        Changed("create", "Service a/b"),
    )
    assert [len(result.paths) for result in record.results] == [0, 1]
    assert record.changes == 1


def test_the_document_obeys_the_schema(tmp_path: Path) -> None:
    failure = Failure("pod@a", "http://10.96.0.7", "ok", "timeout", ("line",))
    record = record_of(
        CheckStarted("demo.one"),
        probed("pod", "a", "clusterip", False, ok=2, timeout=1),
        CheckFinished("demo.one", "", "fail", 0.5, "message", (failure,)),
        RunFinished("not conformant", 1, 2.0),
    )
    around = Surroundings(
        Settings(), "lab", error=CannotMeasure("the API went away", "Wait."), not_run=(TWO,)
    )
    path = json_report.write(json_report.document(record, around), tmp_path / "new" / "folder")
    report = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(json_report.schema())
    jsonschema.validate(report, json_report.schema(), cls=jsonschema.Draft202012Validator)
    assert report["not_run"] == ["demo.two"]
    assert report["checks"][0]["paths"][0]["outcomes"] == {"ok": 2, "timeout": 1}
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]


def test_a_report_is_replaced_as_a_whole(tmp_path: Path) -> None:
    json_report.write({"schema": "old"}, tmp_path)
    with pytest.raises(ValueError, match="Circular"):
        circular: dict[str, object] = {}
        circular["self"] = circular
        json_report.write(circular, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert json.loads((tmp_path / "report.json").read_text()) == {"schema": "old"}


def test_many_failures_of_a_check_are_cut() -> None:
    missed = tuple(Failure(f"pod@{i}", "x", "ok", "timeout") for i in range(9))
    record = record_of(
        CheckStarted("demo.one"), CheckFinished("demo.one", "", "fail", 0.5, "message", missed)
    )
    lines = [line.plain for line in failures.render(record, UNICODE)]
    assert "  ... and 3 more, all in report.json" in lines
    assert sum("→" in line for line in lines) == 6


def test_the_verdict_line_counts() -> None:
    record = record_of(
        CheckStarted("demo.one"), CheckFinished("demo.one", "", "pass", 0.5), RunFinished("partial", 0, 9.12)
    )
    around = Surroundings(Settings(), "lab", reason="40 core checks not selected")
    line = summary.verdict_line(record, around).plain
    assert line == "partial: 1 passed in 9.1 s (world 1.0 s); 40 core checks not selected"


def test_marks_fit_the_terminals_encoding() -> None:
    assert symbols_for("utf-8") is UNICODE
    assert [symbols_for(encoding) for encoding in ("ascii", "latin-1", None, "no-such")] == [ASCII] * 4


def test_plain_progress_is_a_line_for_each_check() -> None:
    console = Console(file=io.StringIO(), width=100, highlight=False)
    progress = PlainProgress(console, ASCII)
    record_of()  # the record is another consumer
    progress(RunStarted("lab", ("demo.one",), {"version": "v1.36.2", "nodes": ["a"]}))
    progress(CheckStarted("demo.one"))
    progress(CheckFinished("demo.one", "", "pass", 0.5))
    progress(CheckFinished("demo.two", "x", "unsupported", 0.0, "no nodes"))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "target lab: Kubernetes v1.36.2, 1 node, 1 check",
        "ok demo.one  0.50 s",
        "- demo.two[x]  0.00 s  unsupported: no nodes",
    ]


def test_a_version_that_is_not_tried_is_told_in_the_head() -> None:
    console = Console(file=io.StringIO(), width=100, highlight=False)
    facts = {"version": "v1.27.1", "version note": "Kubernetes 1.27 is older than 1.29", "nodes": ["a"]}
    PlainProgress(console, ASCII)(RunStarted("existing", ("demo.one",), facts))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "target existing: Kubernetes v1.27.1, 1 node, 1 check",
        "Kubernetes 1.27 is older than 1.29",
    ]


def test_live_progress_has_no_thread_until_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setenv("TERM", "xterm")
    before = threading.active_count()
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    record = record_of(CheckStarted("demo.one"), CheckFinished("demo.one", "", "fail", 0.5, "it failed"))
    progress = LiveProgress(console, UNICODE, record, total=2, every_check=False)
    assert threading.active_count() == before
    progress.threads_allowed()
    try:
        assert threading.active_count() == before + 1
        progress(CheckStarted("demo.two"))
        progress(CheckFinished("demo.one", "", "fail", 0.5, "it failed"))
    finally:
        progress.stop()
    assert isinstance(console.file, io.StringIO)
    assert "it failed" in console.file.getvalue()


def test_further_outside_vantages_have_rows_of_their_own() -> None:
    there = replace(probed("outside", "", "nodeport"), vantage="outside@ssh edge1")
    lines = text_of(record_of(CheckStarted("demo.one"), probed("outside", "", "nodeport"), there))
    assert [line.split("✓")[0].strip() for line in lines[1:]] == ["outside", "outside", "ssh edge1"]
