"""Which Services and EndpointSlices the lab's service proxy leaves alone, as kube-proxy of the same version."""

from __future__ import annotations

import pytest

from kubereach_lab.faults import Faults
from kubereach_lab.proxy.labels import Watched

NAME, HEADLESS = "service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"


def labelled(*labels: str) -> dict[str, object]:
    return {"metadata": {"name": "one", "labels": dict.fromkeys(labels, "")}}


@pytest.mark.parametrize("minor", [29, 34, 35, 36, 37])
def test_labels_by_version(minor: int) -> None:
    watched = Watched(minor)
    plain, named, headless = {"metadata": {}}, labelled("app", NAME), labelled("app", HEADLESS)
    assert watched.service(plain) and not watched.service(named)
    assert watched.service(headless) == (minor >= 35)
    assert watched.slices([plain, labelled("app"), headless]) == [plain, labelled("app")]


def test_the_fault_heeds_none() -> None:
    watched = Watched(36, Faults(["proxy.labels-ignored"]))
    both = labelled(NAME, HEADLESS)
    assert watched.service(both) and watched.slices([both]) == [both]
