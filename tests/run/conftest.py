"""The fixture `project` of these tests."""

from __future__ import annotations

import pytest
from plugin_project import REPOSITORY, Project

import kubereach.expect

# imported once here instead of anew in every inner run; what tests set in them is then set in those of the run
import kubereach.run.deadline
import kubereach.run.session  # noqa: F401


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Without Hypothesis' plugin, which would import Hypothesis anew in every inner run."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
    return pytester


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    for variable in ("KUBECONFIG", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    return Project(pytester)
