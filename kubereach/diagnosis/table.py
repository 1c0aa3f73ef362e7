"""The table of all evidence about one path: what failed, what was measured for it, and what others have shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kubereach.diagnosis.evidence import DIRECT, NODE_ADDRESS, Row
from kubereach.diagnosis.hypotheses import components
from kubereach.diagnosis.score import Explanation, explain

#: rows of the network that are remembered
_MOST = 600


class Table:
    """Rows, and the components that explain them. `known` are rows of the network that were measured before.

    What Services do changes all the time, as checks change them; what lies beneath does not. So the one is measured for
    each failure anew, and the other counts for all that fail.
    """

    def __init__(self, rows: Sequence[Row], known: Sequence[Row] = ()) -> None:
        self.rows = list(rows)
        seen = {_labels(row) for row in self.rows}
        self.rows += [row for row in known if _labels(row) not in seen]
        self.cover: list[Explanation] = []

    def add(self, rows: Iterable[Row]) -> None:
        self.rows += rows

    def explanation_of(self, own: Sequence[Row]) -> Explanation | None:
        """What explains the losses of `own`, the rows of the failed path at the table's beginning.

        That is the one that they are put down to most. None if nothing does, or if nothing but these rows speaks for
        it: what is not met again is blamed on nobody. Of a path that has lost no probe, it is the first explanation of
        anything that its probes pass; and of one whose translator is not known, of any that is known for its address.
        """
        self.cover = explain(self.rows)
        same = [row for row in self.rows if row.host == own[0].host] if own and not own[0].translator else own
        passed = {component for row in same for route in row.routes for component in components(row, route)}
        weighed = [(one.losses(self.rows, range(len(own))), one) for one in self.cover]
        weight, most = max(weighed, key=lambda pair: pair[0], default=(0.0, None))
        if not weight:
            most = next((one for one in self.cover if one.candidate.component in passed), None)
        if most is None or max(most.candidate.lossy) < len(own):
            return None
        return most

    def of_network(self) -> list[Row]:
        """The latest rows that no Service has a part in."""
        return [row for row in self.rows if row.way in (DIRECT, NODE_ADDRESS)][-_MOST:]


def _labels(row: Row) -> Row:
    return replace(row, lost=0, refused=0, routes=tuple(replace(route, answered=0) for route in row.routes))
