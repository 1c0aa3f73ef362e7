"""A kind cluster's life: made, used, deleted; reused; kept; what it is made with."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml
from tools import IMAGE, Tools

from kubereach.model.errors import UsageError
from kubereach.model.settings import Settings
from kubereach.targets.kind.options import KindChoice


def made_with(tools: Tools) -> dict:
    (call,) = tools.calls("kind", "create", "cluster")
    file = next(word.partition("=")[2] for word in call if word.startswith("--config="))
    return yaml.safe_load(Path(file).read_text())


def test_a_cluster_is_made_and_deleted_again(tools: Tools) -> None:
    target = tools.target()
    access = target.open()
    assert access.disposable
    assert access.context == "kind-pytest-kind"
    assert (
        access.kubeconfig is not None
        and access.kubeconfig.parent == Path(".pytest-kind/pytest-kind").absolute()
    )
    assert stat.S_IMODE(access.kubeconfig.stat().st_mode) == 0o600
    assert "created for the run, kind v0.33.0 on docker" in access.description
    assert "kind: Starting control-plane" in " ".join(tools.said)
    assert [node["role"] for node in made_with(tools)["nodes"]] == ["control-plane", "worker", "worker"]
    order = [" ".join(call[:3]) for call in tools.calls()]
    waits = [call for call in tools.calls("kubectl") if "wait" in call]
    assert ["node" in waits[0], "--namespace=kube-system" in waits[1]] == [True, True]
    assert order.index("kind get clusters") < order.index("kind create cluster")
    target.close()
    assert tools.state["clusters"] == {}
    assert not access.kubeconfig.exists(), "its keys go with it"
    target.close()
    assert len(tools.calls("kind", "delete")) == 1


def test_a_cluster_that_is_there_is_used_and_stays(tools: Tools) -> None:
    tools.has("pytest-kind")
    target = tools.target()
    access = target.open()
    assert not access.disposable
    assert "reused" in access.description
    target.close()
    assert "pytest-kind" in tools.state["clusters"]
    assert not tools.calls("kind", "create") and not tools.calls("kind", "delete")


def test_the_load_balancer_of_several_control_planes_is_no_node_that_is_missing(tools: Tools) -> None:
    tools.has("pytest-kind", joined=3)
    content = tools.state
    content["clusters"]["pytest-kind"]["nodes"].append("pytest-kind-external-load-balancer")
    tools.write(content)
    tools.target().open()


def test_a_kept_cluster_stays_and_the_next_run_with_the_same_options_uses_it(tools: Tools) -> None:
    choice = KindChoice(keep=True, proxy_mode="nftables", dual_stack=True, nodes=2)
    first = tools.target(choice)
    assert not first.open().disposable
    first.close()
    assert "pytest-kind" in tools.state["clusters"]
    second = tools.target(choice)
    assert "reused" in second.open().description
    second.close()
    assert len(tools.calls("kind", "create")) == 1
    other = tools.target(KindChoice(proxy_mode="ipvs"))
    with pytest.raises(UsageError) as caught:
        other.open()
    assert caught.value.message == (
        "the kind cluster pytest-kind exists and was not created with --kind-proxy-mode ipvs"
    )
    assert "kind delete cluster --name pytest-kind" in caught.value.remedy
    other.close()
    assert "pytest-kind" in tools.state["clusters"]


def test_what_an_earlier_cluster_of_that_name_was_made_with_does_not_count(tools: Tools) -> None:
    choice = KindChoice(keep=True, proxy_mode="nftables")
    tools.target(choice).open()
    tools.set(clusters={})
    tools.has("pytest-kind")
    with pytest.raises(UsageError, match="was not created with --kind-proxy-mode nftables"):
        tools.target(choice).open()


def test_options_shape_the_configuration(tools: Tools) -> None:
    image = "kindest/node:v1.30.0"
    tools.target(KindChoice(name="own", proxy_mode="ipvs", dual_stack=True, nodes=1, image=image)).open()
    content = made_with(tools)
    assert content["nodes"] == [{"role": "control-plane"}]
    assert content["networking"] == {"kubeProxyMode": "ipvs", "ipFamily": "dual"}
    (call,) = tools.calls("kind", "create", "cluster")
    assert {"--name=own", "--image=kindest/node:v1.30.0"} <= set(call)


def test_a_configuration_of_the_user_s_own(tools: Tools, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnetworking: {podSubnet: 10.9.0.0/16}\n"
        "nodes: [{role: control-plane}, {role: worker, labels: {zone: a}}]\n"
    )
    tools.target(KindChoice(config=file, proxy_mode="nftables")).open()
    content = made_with(tools)
    assert content["nodes"][1]["labels"] == {"zone": "a"}
    assert content["networking"] == {"podSubnet": "10.9.0.0/16", "kubeProxyMode": "nftables"}


def test_the_kubeconfig_of_the_user_s_choice_is_written_and_stays(tools: Tools, tmp_path: Path) -> None:
    file = tmp_path / "deep/config"
    target = tools.target(KindChoice(kubeconfig=file))
    assert target.open().kubeconfig == file
    target.close()
    assert file.exists()


def test_the_probe_image_is_loaded_where_the_engine_has_it(tools: Tools) -> None:
    first = tools.target()
    first.open()
    assert tools.calls("kind", "load") == [["kind", "load", "docker-image", "--name=pytest-kind", IMAGE]]
    first.close()
    tools.set(images=[])
    tools.target().open()
    assert len(tools.calls("kind", "load")) == 1, "the nodes will pull it"


@pytest.mark.parametrize("engine", ["podman", "nerdctl"])
def test_other_engines_are_kind_s_business(tools: Tools, engine: str) -> None:
    (tools.bin / "docker").unlink()
    tools.install(engine)
    target = tools.target(KIND_EXPERIMENTAL_PROVIDER=engine)
    assert f"on {engine}" in target.open().description
    assert tools.calls("kind", "load", "image-archive")
    assert tools.calls(engine, "save")


def test_addresses_come_from_cloud_provider_kind_when_it_runs(tools: Tools) -> None:
    first = tools.target()
    access = first.open()
    assert access.self_load_balancer
    assert "no load balancer controller: cloud-provider-kind is not running" in access.description
    first.close()
    image = "registry.k8s.io/cloud-provider-kind/cloud-controller-manager:v0.9.0"
    tools.set(containers=[["envoyproxy/envoy:v1.33.2", "kindccm-ABC"], [image, "nice_name"]])
    access = tools.target().open()
    assert not access.self_load_balancer
    assert "load balancer controller: cloud-provider-kind (container nice_name)" in access.description


def test_a_controller_of_a_cluster_that_is_there_is_left_its_work(tools: Tools) -> None:
    tools.has("pytest-kind")
    tools.mishap(images="quay.io/metallb/controller:v0.14.8")
    access = tools.target().open()
    assert not access.self_load_balancer
    assert "load balancer controller: MetalLB" in access.description


@pytest.mark.parametrize(
    ("info", "endpoint", "why"),
    [
        ({"OperatingSystem": "Docker Desktop"}, "unix:///var/run/docker.sock", "Docker Desktop runs containers"),
        ({"SecurityOptions": ["name=rootless"]}, "unix:///run/user/1000/docker.sock", "a rootless container engine"),
        ({}, "ssh://somebody@elsewhere", "the container engine is on another machine, ssh://somebody@elsewhere"),
        ({}, "tcp://127.0.0.1:2375", ""),
        ({}, "unix:///var/run/docker.sock", ""),
    ],
)  # fmt: skip
def test_where_nodes_cannot_be_reached_the_outside_is_a_container(
    tools: Tools, info: dict, endpoint: str, why: str
) -> None:
    tools.set(info=info, endpoint=endpoint)
    access = tools.target().open()
    assert access.outside_why.startswith(why) if why else access.outside_why == ""
    if why:
        assert f"{tools.bin}/docker run -i --rm --network kind " in access.outside_via
        assert access.outside_via.endswith(f"{IMAGE} python3")
        assert "outside: a container on the network kind" in access.description
    else:
        assert access.outside_via == ""


def test_nodes_that_do_not_react_are_reason_enough_for_a_container(tools: Tools) -> None:
    tools.mishap(address="192.0.2.77")
    access = tools.target(settings=Settings(outside_timeout=0.2)).open()
    assert access.outside_why == "192.0.2.77 does not answer connections from this machine"


def test_the_image_of_the_outside_is_fetched(tools: Tools) -> None:
    tools.set(images=[], info={"OperatingSystem": "Docker Desktop"})
    tools.target().open()
    assert tools.calls("docker", "pull") == [["docker", "pull", IMAGE]]


def test_logs_of_the_nodes(tools: Tools, tmp_path: Path) -> None:
    target = tools.target()
    assert target.export_logs(tmp_path) is None, "there is no cluster yet"
    target.open()
    (tmp_path / "kind-logs/old-node").mkdir(parents=True)
    assert target.export_logs(tmp_path) == tmp_path / "kind-logs"
    assert sorted(path.name for path in (tmp_path / "kind-logs").iterdir()) == [
        "pytest-kind-control-plane",
        "pytest-kind-worker",
        "pytest-kind-worker2",
    ]
    target.close()
