"""When one more run may start."""

from __future__ import annotations

from kubereach.selftest import processors
from kubereach.selftest.processors import Processors


def test_more_runs_start_only_while_the_processors_are_idle(tmp_path, monkeypatch):
    monkeypatch.setattr(processors, "_WINDOW", 0.0)
    stat = tmp_path / "stat"

    def passed(busy, idle, waiting=0):
        stat.write_text(f"cpu  {busy} 0 0 {idle} {waiting} 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n")

    passed(1000, 1000)
    these = Processors(stat)
    passed(1090, 1010)  # a tenth of the time idle
    assert not these.have_room()
    passed(1100, 1090, 10)
    assert these.have_room()
    passed(1200, 1090, 10)
    assert not these.have_room()


def test_it_is_not_asked_too_soon():
    assert not Processors().have_room()
