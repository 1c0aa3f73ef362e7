"""How busy this machine's processors are: runs on broken labs mostly wait, and more of them may then run beside."""

from __future__ import annotations

import time
from pathlib import Path

#: seconds over which it is measured, at least
_WINDOW = 1.5
#: the share of all processors' time that must have been idle for one more run
_IDLE = 0.3
_STAT = Path("/proc/stat")


class Processors:
    """Looks at the kernel's counters; see proc_stat(5)."""

    def __init__(self, stat: Path = _STAT) -> None:
        self._stat = stat
        self._idle, self._total = self._counters()
        self._since = time.monotonic()

    def restart(self) -> None:
        """Measure from now on: something has changed."""
        self._idle, self._total = self._counters()
        self._since = time.monotonic()

    def have_room(self) -> bool:
        """Whether a good part of their time was idle since the last restart; False while that is too short ago."""
        if time.monotonic() - self._since < _WINDOW:
            return False
        idle, total = self._counters()
        room = idle - self._idle > _IDLE * (total - self._total)
        self.restart()
        return room

    def _counters(self) -> tuple[int, int]:
        """Ticks idle (waiting for disks included) and ticks in all, of all processors together."""
        ticks = [int(word) for word in self._stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)
