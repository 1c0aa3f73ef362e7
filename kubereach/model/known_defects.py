"""Known defects of Kubernetes itself: a check that fails for one of them says nothing about who runs the cluster."""

from __future__ import annotations

from dataclasses import dataclass

from kubereach.model.versions import parsed


@dataclass(frozen=True)
class KnownDefect:
    """A defect that releases of Kubernetes have, from the minor version `since` to `until`, as far as is known."""

    #: the issue or pull request, as upstream writes it
    issue: str
    since: tuple[int, int]
    until: tuple[int, int]
    #: in one line
    what: str

    @property
    def versions(self) -> str:
        """``1.32 to 1.37``."""
        return " to ".join(f"{major}.{minor}" for major, minor in (self.since, self.until))

    def __str__(self) -> str:
        return f"known defect of Kubernetes {self.versions}, {self.issue}: {self.what}"


#: by the id of the check that finds it
KNOWN = {
    "endpoints.udp-after-scale-to-zero": KnownDefect(
        "kubernetes #139628 (and pull request #141371)",
        (1, 32),
        (1, 37),
        "UDP flows of a Service without endpoints (until 1.36), or of a deleted one, still reach the old pod",
    ),
}


def known_defect(check: str, version: str) -> KnownDefect | None:
    """The known defect that a failure of `check` is put down to in a cluster of this version (``v1.36.2``)."""
    defect = KNOWN.get(check)
    found = parsed(version)
    if defect is None or found is None:
        return None
    return defect if defect.since <= found <= defect.until else None
