"""Until when a change may take."""

from __future__ import annotations

from kubereach.model.convergence import CHANGED, ConvergenceDeadline, not_before, origin


def test_a_change_stays_known_where_all_else_takes_longer() -> None:
    settled = ConvergenceDeadline.after(CHANGED, 8)
    later = settled + 2
    found = not_before(settled, later)
    assert found == later
    assert origin(found, settled.since) == (CHANGED, settled.since)
    assert not_before(settled, settled - 2) is settled


def test_what_follows_no_change_has_until_the_later_moment() -> None:
    assert (not_before(3.0, 5.0), not_before(5.0, 3.0)) == (5.0, 5.0)
