"""One lab for all tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from lab_access import IMAGES, LabAccess

from kubereach_lab import Lab, LabConfig

_numbers = count()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabAccess]:
    """A lab of three nodes; what it logged is an error, since it logs only what should not happen."""
    started = Lab(LabConfig(nodes=3, images=IMAGES))
    started.start()
    with started:
        access = LabAccess(started, tmp_path_factory.mktemp("lab"))
        yield access
        logged = access.log()
        access.close()
    assert not logged, f"the lab logged:\n{logged}"


@pytest.fixture(scope="session")
def dual_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabAccess]:
    """A lab with IPv6 beside IPv4, otherwise as `lab`."""
    yield from _started(LabConfig(dual_stack=True), tmp_path_factory.mktemp("dual-lab"))


@pytest.fixture(scope="session")
def iptables_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabAccess]:
    """A lab whose clients see kube-proxy's iptables mode, with IPv6 beside IPv4."""
    config = LabConfig(dual_stack=True, proxy_mode="iptables")
    yield from _started(config, tmp_path_factory.mktemp("iptables-lab"))


@pytest.fixture(scope="session")
def ipvs_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabAccess]:
    """A lab whose clients see kube-proxy's ipvs mode, with IPv6 beside IPv4."""
    yield from _started(LabConfig(dual_stack=True, proxy_mode="ipvs"), tmp_path_factory.mktemp("ipvs-lab"))


def _started(config: LabConfig, folder: Path) -> Iterator[LabAccess]:
    with Lab(config) as started:
        access = LabAccess(started, folder)
        yield access
        logged = access.log()
        access.close()
    assert not logged, f"the lab logged:\n{logged}"


@pytest.fixture
def space(lab: LabAccess) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"t{next(_numbers)}"
    lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    lab.delete(f"/api/v1/namespaces/{name}")
