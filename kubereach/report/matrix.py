"""The matrix of a run: vantages down, ways of reaching across, and how fast each answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from kubereach.model.check import INFO
from kubereach.model.percentile import percentile
from kubereach.model.verdicts import FAIL, NOTED, PASS, UNSUPPORTED
from kubereach.report.record import Path, Record, pooled
from kubereach.report.symbols import STYLES, Symbols

#: the order of columns and rows; what is not named here comes after, as it was met
WAYS = (
    "clusterip", "nodeport", "loadbalancer", "external-ip", "health-check",
    "dns", "headless", "externalname", "api-server", "pod",
)  # fmt: skip
KINDS = ("pod", "other-namespace", "node", "outside")

# From best to worst: a cell shows the worst that happened on its paths.
_CLOSED, _REACHED, _NOTED, _FAILED = range(4)
_MOST_NODES = 8

_CORNER = "p50 in ms, from"
#: characters of a terminal of which nothing is known
_WIDTH = 80


@dataclass(frozen=True)
class Cell:
    """What became of a kind of vantage's paths over one way. `p50` is seconds, None if nothing answered."""

    state: int
    p50: float | None = None


@dataclass(frozen=True)
class Row:
    """`label` is a kind of vantage, or the node of some of them (`single`) where the nodes differ."""

    label: str
    cells: tuple[Cell | None, ...]
    single: bool = False


@dataclass(frozen=True)
class Matrix:
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def build(record: Record) -> Matrix:
    """Fold the record's paths. Where a kind's nodes do not agree, each gets a row of its own too.

    Several outside vantages always have one each.
    """
    paths = [
        (path, _state(path, result.check is not None and result.check.level == INFO))
        for result in record.results
        for path in result.paths
    ]
    columns = _ordered((path.way for path, _ in paths), WAYS)
    rows: list[Row] = []
    for kind in _ordered((path.kind for path, _ in paths), KINDS):
        own = [(path, state) for path, state in paths if path.kind == kind]
        rows.append(_row(kind, own, columns))
        places = sorted({_place(path) for path, _ in own})
        single = [_row(place, [p for p in own if _place(p[0]) == place], columns, True) for place in places]
        if kind == "outside" and len(single) > 1:  # places of their own, and not nodes of one cluster
            rows += single
        elif len(single) > 1 and _differ(single):
            failing = [row for row in single if any(cell and cell.state == _FAILED for cell in row.cells)]
            rows += single if len(single) <= _MOST_NODES else failing[:_MOST_NODES]
    return Matrix(columns, tuple(rows))


def render(matrix: Matrix, marks: Symbols, width: int = _WIDTH) -> Iterator[Table]:
    """The matrix for `width` characters: as one rich table, or several below each other, none of them cut off.

    Times are milliseconds. A row without anything in the columns of a table is left out of it.
    """
    labels = [Text(f"  {row.label}", "dim") if row.single else Text(row.label) for row in matrix.rows]
    cells = [[_shown(cell, marks) for cell in row.cells] for row in matrix.rows]
    own = 1 + max(len(_CORNER), *(label.cell_len for label in labels))
    widths = [
        1 + max(len(column), *(row[index].cell_len for row in cells))
        for index, column in enumerate(matrix.columns)
    ]
    for some in _fitting(widths, width - own):
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for header in (_CORNER, *(matrix.columns[index] for index in some)):
            table.add_column(header, no_wrap=True)
        for label, row, folded in zip(labels, cells, matrix.rows, strict=True):
            if any(folded.cells[index] for index in some):
                table.add_row(label, *(row[index] for index in some))
        yield table


def _fitting(widths: Sequence[int], room: int) -> list[list[int]]:
    """The columns, by number, that go into each table: as many as there is room for, one at least."""
    tables: list[list[int]] = []
    used = room + 1
    for index, width in enumerate(widths):
        if used + width > room:
            tables.append([])
            used = 0
        tables[-1].append(index)
        used += width
    return tables


def legend(matrix: Matrix, marks: Symbols) -> str:
    """What the marks that occur in the matrix mean."""
    meanings = (
        (_REACHED, marks.reached, "every probe answered as required"),
        (_FAILED, marks.failed, "some probes were not answered as required"),
        (_CLOSED, marks.closed, "no answer, as required"),
        (_NOTED, marks.noted, "noted by an info check"),
    )
    states = {cell.state for row in matrix.rows for cell in row.cells if cell}
    return "   ".join(f"{mark} {meaning}" for state, mark, meaning in meanings if state in states)


def _state(path: Path, info: bool) -> int:
    if not path.conforming:
        return _NOTED if info else _FAILED
    # a check that something is closed conforms without an answer: nothing was reached, as it should be
    return _REACHED if path.outcomes.get("ok") else _CLOSED


def _place(path: Path) -> str:
    # ``worker`` of ``pod@worker``: several vantages of a kind may be on one node
    return path.vantage.partition("@")[2] or path.vantage


def _row(label: str, paths: list[tuple[Path, int]], columns: tuple[str, ...], single: bool = False) -> Row:
    return Row(label, tuple(_cell([p for p in paths if p[0].way == way]) for way in columns), single)


def _cell(paths: list[tuple[Path, int]]) -> Cell | None:
    if not paths:
        return None
    return Cell(max(state for _, state in paths), percentile(pooled(path for path, _ in paths), 0.5))


def _differ(rows: list[Row]) -> bool:
    """Whether a way failed from some of the vantages and not from others."""
    for cells in zip(*(row.cells for row in rows), strict=True):
        failed = {cell.state == _FAILED for cell in cells if cell}
        if len(failed) > 1:
            return True
    return False


def _ordered(names: Iterable[str], order: tuple[str, ...]) -> tuple[str, ...]:
    met = list(dict.fromkeys(names))
    place: Callable[[str], int] = lambda name: order.index(name) if name in order else len(order)  # noqa: E731
    return tuple(sorted(met, key=place))


def _shown(cell: Cell | None, marks: Symbols) -> Text:
    if cell is None:
        return Text("")
    style, mark = {
        _REACHED: (STYLES[PASS], marks.reached),
        _FAILED: (STYLES[FAIL], marks.failed),
        _CLOSED: (STYLES[UNSUPPORTED], marks.closed),
        _NOTED: (STYLES[NOTED], marks.noted),
    }[cell.state]
    text = Text(mark, style)
    if cell.p50 is not None:
        text.append(f" {cell.p50 * 1000:.{2 if cell.p50 < 0.01 else 0}f}", "")
    return text
