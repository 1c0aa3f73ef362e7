"""Measure everything, print the table, and with --write keep it in benchmarks/RESULTS.md."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.lab_start import measure_start
from benchmarks.probe_rate import measure_rates
from benchmarks.whole_run import measure_runs

Row = tuple[str, str, float]

_PAGE = """\
# Measured

Made by `python -m benchmarks --write`, all in one run on one machine; compare the ratios, not the times.
Machine: {cpus} CPUs, Linux {kernel}, Python {python}.

| what | measured | ratio |
|---|---|---|
{rows}
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the table in benchmarks/RESULTS.md")
    parser.add_argument("--only-rates", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only_rates:
        # In a process of its own, since it moves into the lab and cannot come back.
        for row in measure_rates():
            sys.stdout.write("\t".join(map(str, row)) + "\n")
        return 0
    rows: list[Row] = measure_start()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only-rates"], stdout=subprocess.PIPE, text=True, check=True
    )
    for line in done.stdout.splitlines():
        what, measured, ratio = line.split("\t")
        rows.append((what, measured, float(ratio)))
    rows += measure_runs()
    table = "\n".join(f"| {what} | {measured} | {ratio:.1f} |" for what, measured, ratio in rows)
    sys.stdout.write(table + "\n")
    if args.write:
        page = _PAGE.format(
            cpus=os.cpu_count(), kernel=platform.release(), python=platform.python_version(), rows=table
        )
        Path(__file__).with_name("RESULTS.md").write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
