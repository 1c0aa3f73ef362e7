"""Where the lab keeps its files."""

from __future__ import annotations

from pathlib import Path

#: on a tmpfs of the lab's own mount namespace: its log, its kubeconfig, its pods' files
RUN = Path("/run/kubereach")
