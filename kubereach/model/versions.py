"""Versions of Kubernetes: how their names are read, and which of them kubereach is tried with."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: (major, minor), both included
OLDEST, NEWEST = (1, 29), (1, 37)


def parsed(version: str) -> tuple[int, int] | None:
    """Major and minor version of ``v1.33.4-gke.1234``, ``v1.32.5+k3s1`` or ``1.30+``; None if it names none."""
    found = re.match(r"v?(\d+)\.(\d+)", version.strip())
    return (int(found[1]), int(found[2])) if found else None


def of_server(answer: Mapping[str, object]) -> str:
    """The version that an API server's answer to ``/version`` names.

    Builds without a tag have a gitVersion of zeros; major and minor may stand beside it, with a plus sign at providers.
    """
    named = str(answer.get("gitVersion") or "")
    minor = f"{answer.get('major') or ''}.{answer.get('minor') or ''}"
    if (parsed(named) or (0, 0)) == (0, 0) and parsed(minor):
        return f"v{minor}"
    return named or "unknown"


def untested(version: str) -> str:
    """What is to be said of a version that kubereach is not tried with, in one line; empty if it is."""
    oldest, newest = (".".join(map(str, known)) for known in (OLDEST, NEWEST))
    found = parsed(version)
    if found is None:
        return (
            f"the API server reports no Kubernetes version ({version}); kubereach is tested with "
            f"{oldest} to {newest}"
        )
    if OLDEST <= found <= NEWEST:
        return ""
    older = found < OLDEST
    known = f"{oldest}, the oldest" if older else f"{newest}, the newest"
    than = f"{'older' if older else 'newer'} than {known} that kubereach is tested with"
    return f"Kubernetes {found[0]}.{found[1]} is {than}; failures may come from that"
