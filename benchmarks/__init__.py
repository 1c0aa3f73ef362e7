"""Figures that must not get worse, as ratios of one run: `python -m benchmarks`."""
