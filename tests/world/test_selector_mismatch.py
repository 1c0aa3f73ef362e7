"""Which labels keep pods from a selector."""

from __future__ import annotations

from kubereach.world.selector_mismatch import differences


def pod(name, **labels):
    return {"metadata": {"name": name, "labels": labels}}


def test_a_wrong_value_is_told_with_the_right_one():
    found = differences(
        {"app": "wbe"}, [pod("web-1", app="web"), pod("web-2", app="web"), pod("x", tier="db")]
    )
    assert found == ["pod web-1 and 1 like it: app is web, not wbe"]


def test_the_nearest_come_first():
    pods = [pod("far", app="a", tier="b"), pod("near", app="web", tier="b"), pod("missing", app="web")]
    found = differences({"app": "web", "tier": "front"}, pods)
    assert found == [
        "pod near: tier is b, not front",
        "pod missing: tier is missing, not front",
        "pod far: app is a, not web; tier is b, not front",
    ]


def test_nothing_is_told_where_a_pod_matches():
    assert differences({"app": "web"}, [pod("web", app="web", more="x"), pod("x", app="y")]) == []


def test_no_pod_with_such_labels():
    assert differences({"app": "web"}, [pod("x", tier="db")]) == ["no pod of the namespace has a label app"]
