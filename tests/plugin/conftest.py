"""The fixture `project` of these tests."""

from __future__ import annotations

import pytest
from plugin_project import REPOSITORY, Project

import kubereach.expect  # noqa: F401  # imported once here instead of anew in every inner run


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    for variable in ("PYTEST_ADDOPTS", "KUBECONFIG", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    return Project(pytester)
