"""Our pods ask meshes to leave them alone, and a container that is not ours is reported."""

from __future__ import annotations

from kubereach.world.sidecars import exempt, foreign_containers, injection_note


def pod(*containers, native=()):
    inits = [{"name": name, "restartPolicy": "Always"} for name in native] + [{"name": "init"}]
    return {"spec": {"containers": [{"name": name} for name in containers], "initContainers": inits}}


def test_pods_ask_to_be_left_alone():
    meta = {"labels": {"app": "x"}}
    exempt(meta)
    assert meta["labels"]["app"] == "x"
    assert meta["labels"]["sidecar.istio.io/inject"] == "false"
    assert meta["annotations"]["linkerd.io/inject"] == "disabled"
    meta = {"annotations": {"linkerd.io/inject": "enabled"}}
    exempt(meta)
    assert meta["annotations"]["linkerd.io/inject"] == "enabled", "a manifest knows better"


def test_containers_of_others():
    assert foreign_containers(pod("peer")) == []
    assert foreign_containers(pod("istio-proxy", "peer", native=["linkerd-proxy"])) == [
        "istio-proxy",
        "linkerd-proxy",
    ]
    assert injection_note([pod("peer"), pod("peer")]) == ""
    text = injection_note([pod("peer"), pod("istio-proxy", "peer")])
    assert text.startswith(
        "containers that are not kubereach's run in its pods: istio-proxy (in 1 of 2 pods)."
    )
