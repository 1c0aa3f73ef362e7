"""What controllers write comes when it comes: it is waited for, and wrong only when its time is over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kubereach.kube.endpointslices import SERVICE
from kubereach.kube.watch_cache import WatchCache
from kubereach.model.errors import NotConforming
from kubereach.model.finding import API
from kubereach.model.settings import Settings
from kubereach.world.ip_family import InFamily
from kubereach.world.load_balancer import must_have
from kubereach.world.service import Service

META = {"name": "web", "namespace": "a", "uid": "1"}


def pod(address, ready=True, **meta):
    return {
        "kind": "Pod",
        "metadata": {"name": f"web-{address[-1]}", "namespace": "a", "labels": {"app": "web"}, **meta},
        "spec": {"nodeName": "one", "containers": []},
        "status": {
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def endpoints(*addresses, ready=None):
    return [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses]


def slice_of(*listed, of="web"):
    labels = {SERVICE: of}
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": f"{of}-x", "namespace": "a", "labels": labels},
        "endpoints": [endpoint for part in listed for endpoint in part],
    }


class Later(WatchCache):
    """A watch cache whose next change comes when somebody waits for it."""

    def __init__(self, *objects, later=()):
        super().__init__(None, "")
        self.later = list(later)
        for obj in objects:
            self._note("ADDED", obj)

    def wait(self, done, seconds, beat=1.0):
        while not super().wait(done, 0.0, beat):
            if not self.later:
                return False
            self._note("MODIFIED", self.later.pop(0))
        return True


class Api:
    """An API server that has just these EndpointSlices."""

    def __init__(self, *slices):
        self.slices = slices

    def items(self, path, **query):
        assert path.endswith("/namespaces/a/endpointslices")
        assert query == {"labelSelector": f"{SERVICE}=web"}
        return self.slices


def service(watch_cache, api=None, **spec):
    context = SimpleNamespace(settings=Settings(converge_deadline=7), settled=0.0, ip_version=4)
    connection = SimpleNamespace(watch_cache=watch_cache, api=api or Api(), context=context)
    obj = {
        "kind": "Service",
        "metadata": META,
        "spec": {"selector": {"app": "web"}, "clusterIPs": ["10.96.0.7"], **spec},
    }
    if watch_cache.get("Service", "a", "web") is None:
        watch_cache._note("ADDED", obj)
    return Service(connection, SimpleNamespace(balancer=None), None, obj, 0.0)


# --- EndpointSlices


def test_slices_that_say_what_the_pods_say():
    pods = (pod("10.0.0.1"), pod("10.0.0.2"))
    service(Later(*pods, slice_of(endpoints("10.0.0.1", "10.0.0.2")))).slices.must_list_ready_pods()
    service(
        Later(*pods, slice_of(endpoints("10.0.0.1", "10.0.0.2", ready=True)))
    ).slices.must_list_ready_pods()


def test_slices_that_are_a_moment_behind_are_waited_for():
    pods = (pod("10.0.0.1"), pod("10.0.0.2"))
    behind, right = slice_of(endpoints("10.0.0.1")), slice_of(endpoints("10.0.0.1", "10.0.0.2"))
    watch_cache = Later(*pods, behind, later=[slice_of(endpoints("10.0.0.2")), right])
    service(watch_cache, Api(behind)).slices.must_list_ready_pods()
    assert not watch_cache.later


@pytest.mark.parametrize(
    ("listed", "got"),
    [
        (slice_of(endpoints("10.0.0.1")), "10.0.0.1"),
        (slice_of(endpoints("10.0.0.1", "10.0.0.2", "10.0.0.9")), "10.0.0.1, 10.0.0.2, 10.0.0.9"),
        # ready or not, what was never a pod of ours is somebody else
        (
            slice_of(endpoints("10.0.0.1", "10.0.0.2"), endpoints("10.0.0.9", ready=False)),
            "10.0.0.1, 10.0.0.2, 10.0.0.9 (not ready)",
        ),
        (
            slice_of(endpoints("10.0.0.1"), endpoints("10.0.0.2", ready=False)),
            "10.0.0.1, 10.0.0.2 (not ready)",
        ),
        (slice_of(endpoints("10.0.0.1", "10.0.0.2"), of="other"), "nothing"),
    ],
)
def test_slices_that_stay_wrong_are_the_controllers_failure(listed, got):
    found = service(Later(pod("10.0.0.1"), pod("10.0.0.2"), listed), Api(*[listed] * (got != "nothing")))
    with pytest.raises(NotConforming) as error:
        found.slices.must_list_ready_pods()
    (failure,) = error.value.failures
    assert (failure.vantage, failure.address, failure.got) == ("API", "EndpointSlices of web", got)
    assert failure.expected == "after 7 s, only the ready pods' 10.0.0.1, 10.0.0.2"
    assert (failure.layer, failure.finding.layer, failure.finding.object) == (API, API, "EndpointSlices")
    assert "EndpointSlice controller" in failure.finding.what


def test_pods_that_are_not_ready_may_be_listed_as_such():
    pods = (pod("10.0.0.1"), pod("10.0.0.2", ready=False), pod("10.0.0.3", deletionTimestamp="now"))
    listed = slice_of(endpoints("10.0.0.1"), endpoints("10.0.0.2", "10.0.0.3", ready=False))
    service(Later(*pods, listed)).slices.must_list_ready_pods()


def test_slices_without_the_labels_of_their_service_count_too():
    """Nothing says that whoever writes EndpointSlices copies them."""
    right = slice_of(endpoints("10.0.0.1"))
    service(Later(pod("10.0.0.1")), Api(right)).slices.must_list_ready_pods()


# --- addresses of load balancers


def balanced(*given, **spec):
    ingress = [{"ip": ip} for ip in given]
    return {
        "kind": "Service",
        "metadata": META,
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
        "status": {"loadBalancer": {"ingress": ingress}},
    }


def test_an_address_of_the_second_family_that_comes_later_is_waited_for():
    first = balanced("192.0.2.7")
    watch_cache = Later(first, later=[balanced("192.0.2.7", "2001:db8::7")])
    assert service(watch_cache).load_balancer.address_of_family(6) == "2001:db8::7"
    assert service(watch_cache).load_balancer.address_of_family(4) == "192.0.2.7"
    with pytest.raises(NotConforming, match="a load-balancer address of IPv6"):
        InFamily(service(Later(first), type="LoadBalancer", ports=[{"port": 80}]), "IPv6").ingress()


def test_an_address_that_was_asked_for_by_annotation_is_waited_for():
    watch_cache = Later(balanced("192.0.2.7"), later=[balanced("192.0.2.9")])
    found = service(watch_cache)
    must_have(found, "192.0.2.9")
    assert found.settled > 0
    with pytest.raises(NotConforming, match=r"192\.0\.2\.7"):
        must_have(service(Later(balanced("192.0.2.7"))), "192.0.2.9")
