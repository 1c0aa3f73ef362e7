"""What EndpointSlices belong to a Service, and whom they call ready."""

from __future__ import annotations

import pytest

from kubereach.kube.endpointslices import SERVICE, belonging_to, is_called_ready


def part(name, labels):
    return {"metadata": {"name": name, "labels": labels}}


def test_a_slice_belongs_to_the_service_that_its_label_names():
    slices = [
        part("web-1", {SERVICE: "web"}), part("web-2", {SERVICE: "web", "more": "x"}),
        part("webs-1", {SERVICE: "webs"}), part("web-3", {}), part("web-4", None), {"metadata": {"name": "web"}},
    ]  # fmt: skip
    assert [one["metadata"]["name"] for one in belonging_to("web", slices)] == ["web-1", "web-2"]


@pytest.mark.parametrize(
    ("endpoint", "ready"),
    [
        ({}, True),
        ({"conditions": None}, True),
        ({"conditions": {}}, True),
        ({"conditions": {"serving": False}}, True),
        ({"conditions": {"ready": None}}, True),
        ({"conditions": {"ready": True}}, True),
        ({"conditions": {"ready": False}}, False),
        ({"conditions": {"ready": False, "serving": True}}, False),
    ],
)
def test_who_is_not_said_to_be_unready_is_called_ready(endpoint, ready):
    assert is_called_ready(endpoint) is ready
