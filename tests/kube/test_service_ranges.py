"""Service ranges: where the cluster tells them, and what is said where it does not."""

from __future__ import annotations

import pytest

from kubereach.kube import ranges as known
from kubereach.kube.client import ApiError
from kubereach.kube.cluster import Cluster

OUT = 'Service "x" is invalid: spec.clusterIPs: Invalid value: ["{}"]: failed to allocate IP {}: {}'
NOT_IN_RANGE = "the provided IP ({}) is not in the valid range. The range of valid IPs is {}"
OTHER_FAMILY = (
    'spec.clusterIPs[0]: Invalid value: "{}": expected an {} value as indicated by `spec.ipFamilies[0]`'
)


class FakeApi:
    """An API server without ServiceCIDR objects that has these ranges; `silent` ones are not told in refusals."""

    def __init__(self, *ranges, silent=False):
        self.ranges, self.silent = ranges, silent

    def find(self, _path):
        return None

    def create(self, obj, dry_run):
        assert dry_run
        address = obj["spec"]["clusterIP"]
        own = [one for one in self.ranges if (":" in one) == (":" in address)]
        if not own:
            raise ApiError(
                422, "Invalid", OTHER_FAMILY.format(address, "IPv6" if ":" not in address else "IPv4"), ""
            )
        why = "not in the range" if self.silent else NOT_IN_RANGE.format(address, own[0])
        raise ApiError(422, "Invalid", OUT.format(address, address, why), "")


@pytest.mark.parametrize(
    "ranges", [("10.96.0.0/16",), ("fd00:10:96::/112",), ("10.43.0.0/16", "fd00:10:96::/112")]
)
def test_refusals_tell_the_range_of_each_family(ranges):
    assert known.services(FakeApi(*ranges), "a") == ranges


def test_ranges_that_no_refusal_tells_are_unknown():
    assert known.services(FakeApi("10.96.0.0/16", silent=True), "a") == ()


@pytest.mark.parametrize(
    ("ranges", "address", "within"),
    [
        (("10.96.0.0/16",), "10.96.0.7", True),
        (("10.96.0.0/16",), "10.97.0.7", False),
        (("10.96.0.0/16", "fd00::/112"), "fd00::7", True),
        ((), "10.96.0.7", None),
        (("fd00::/112",), "10.96.0.7", None),
    ],
)
def test_what_is_unknown_is_not_true(ranges, address, within):
    cluster = Cluster("v1.36.2", "", (), "cluster.local", None, ranges, ("10.96.0.1", 443))
    assert cluster.in_service_range(address) is within
