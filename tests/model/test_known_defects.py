"""Known defects of Kubernetes, by check and version."""

from __future__ import annotations

import pytest

from kubereach.model.known_defects import KNOWN, known_defect
from kubereach.run.catalogue import read_checks, suites_folder
from tests.conformance.conftest import ROOT

CHECK = "endpoints.udp-after-scale-to-zero"


@pytest.mark.parametrize("version", ["v1.36.2", "v1.37.0", "v1.32.0-gke.100", "1.33+"])
def test_versions_that_have_it(version):
    defect = known_defect(CHECK, version)
    assert defect is not None
    assert "#139628" in str(defect)
    assert "1.32 to 1.37" in str(defect)


@pytest.mark.parametrize("version", ["v1.38.0", "v1.31.9", "v2.0.1", "unknown", ""])
def test_versions_that_do_not(version):
    assert known_defect(CHECK, version) is None


def test_other_checks_have_none():
    assert known_defect("clusterip.from-pod", "v1.36.2") is None


def test_every_known_defect_is_of_a_check():
    assert set(KNOWN) <= {check.id for check in read_checks(suites_folder(ROOT))}
