"""Which place explains what stands out: a pair of nodes, all that leaves or enters a node, a node, an endpoint.

Each observation of a cell (node of the client, node of the endpoint, endpoint) is *far* or not. A place stands out if
most observations of all its cells are far, and elsewhere so few that chance does not explain it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kubereach.report.outliers.outlier import Place

#: the chance that any place of a run is noted though its observations are far no more often than those elsewhere
ERROR = 1e-4
#: observations elsewhere without which there is nothing to compare with, and those that a part of a place has to have
#: before it can speak against the place
_ELSEWHERE, _PART = 6, 3
#: places that are noted at most: where more stand out, the rest is no comparison any more
_MOST = 4


class Cell(NamedTuple):
    """Nodes by short names."""

    client: str
    server: str
    pod: str

    @property
    def within(self) -> bool:
        """Whether client and endpoint are on one node."""
        return self.client == self.server


@dataclass(frozen=True)
class Count:
    far: int = 0
    total: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.far + other.far, self.total + other.total)

    def __sub__(self, other: Count) -> Count:
        return Count(self.far - other.far, self.total - other.total)

    @property
    def share(self) -> float:
        return self.far / self.total if self.total else 0.0


@dataclass(frozen=True)
class Found:
    """A place that stands out, with its cells, and what there is of them and of those elsewhere."""

    place: Place
    cells: frozenset[Cell]
    here: Count
    elsewhere: Count


def find(counts: Mapping[Cell, Count], share: float, together: bool = False) -> list[Found]:
    """The places of which at least this share is far, five times the share elsewhere; those that explain most first.

    `together`: the observations of a place's cells come in turns, each of which is one observation to chance: who is
    busy for a while is so for all his cells. And what is within nodes is compared with what is within other nodes.
    What one place explains neither makes another stand out nor speaks against it.
    """
    places = _places(counts)
    found: list[Found] = []
    explained: frozenset[Cell] = frozenset()
    while len(found) < _MOST:
        fitting = [
            one
            for place, cells in places.items()
            if (one := _stands_out(place, frozenset(cells), explained, counts, share, len(places), together))
        ]
        if not fitting:
            break
        best = max(fitting, key=lambda one: (one.here.far, -len(one.cells), one.place.in_words))
        found.append(best)
        explained |= best.cells
    return found


def _places(cells: Iterable[Cell]) -> dict[Place, set[Cell]]:
    """All that a cell may belong to, with its cells."""
    found: dict[Place, set[Cell]] = {}
    for cell in cells:
        client, server, pod = cell
        mine = [Place(node=server, pod=pod), Place(node=client), Place(node=server)]
        if cell.within:
            mine.append(Place(client, client))
        else:
            first, second = sorted((client, server))
            mine += [
                Place(client, server),
                Place(first, second, both=True),
                Place(client),
                Place(target=server),
            ]
            mine += [Place(client, both=True), Place(server, both=True)]
        for place in mine:
            found.setdefault(place, set()).add(cell)
    return found


def _stands_out(
    place: Place,
    cells: frozenset[Cell],
    explained: frozenset[Cell],
    counts: Mapping[Cell, Count],
    share: float,
    places: int,
    together: bool,
) -> Found | None:
    new = cells - explained
    here = sum((counts[cell] for cell in new), Count())
    alike = {cell.within for cell in cells} if together else {True, False}
    others = [cell for cell in counts if cell.within in alike and cell not in cells and cell not in explained]
    elsewhere = sum((counts[cell] for cell in others), Count())
    if elsewhere.total < _ELSEWHERE or here.share < share:
        return None
    parts: dict[tuple[str, str], Count] = {}
    for cell in cells:
        part = cell.client, cell.server
        parts[part] = parts.get(part, Count()) + counts[cell]
    if any(part.total >= _PART and part.share < share / 2 for part in parts.values()):
        return None
    chance = (elsewhere.far + 1) / (elsewhere.total + 2)
    turns = max(counts[cell].total for cell in new) if together else here.total
    if here.share < 5 * elsewhere.share or tail(here.share, turns, chance) * places > ERROR:
        return None
    return Found(place, new, here, elsewhere)


def tail(share: float, total: int, chance: float) -> float:
    """At most the chance that this share or more of `total` are far, if each is with this chance.

    Source: Chernoff's bound, W. Hoeffding, Probability inequalities for sums of bounded random variables (1963), 2.1.
    """
    if share <= chance:
        return 1.0
    rest = (1 - share) * math.log((1 - share) / (1 - chance)) if share < 1 else 0.0
    return math.exp(-total * (share * math.log(share / chance) + rest))
