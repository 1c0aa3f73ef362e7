"""kind, docker and kubectl as far as the kind target uses them: same words, streams and exit codes, no cluster.

The name that it is called by says which one it is. What is there is in state.json of the folder in $FAKE_TOOLS, so
that creating, asking and deleting agree; every call is a line of calls.jsonl. The words are those of kind v0.33 and of
docker's 28 client. `mishaps` of the state are failures by name, `live` hands out a cluster that answers.
"""
# ruff: noqa: T201 - what it prints is what it is for

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

FOLDER = Path(os.environ["FAKE_TOOLS"])
SOCKET = "unix:///var/run/docker.sock"
DOWN = f"Cannot connect to the Docker daemon at {SOCKET}. Is the docker daemon running?"
PERMISSION = (
    f"permission denied while trying to connect to the Docker daemon socket at {SOCKET}: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/info": dial unix /var/run/docker.sock: connect: permission denied'
)
FULL = "failed to register layer: write /usr/local/bin/kube-apiserver: no space left on device"
LOAD_FULL = (
    'ERROR: failed to load image: command "docker exec --privileged -i x ctr --namespace=k8s.io images import '
    '--all-platforms --digests --snapshotter=overlayfs -" failed with error: exit status 1\n\n'
    "Command Output: ctr: write /var/lib/containerd/ingest: no space left on device"
)
LOAD_DIGEST = (
    'ERROR: failed to load image: command "docker exec --privileged -i x ctr --namespace=k8s.io images import '
    '--all-platforms --digests --snapshotter=overlayfs -" failed with error: exit status 1\n\n'
    "Command Output: ctr: content digest sha256:5fb6: not found"
)
CREATE = {
    "disk-full": 'failed to pull image "kindest/node:v1.37.0": command "docker pull kindest/node:v1.37.0" failed with '
    f"error: exit status 1\n\nCommand Output: {FULL}",
    "no-node-image": 'failed to pull image "{image}": command "docker pull {image}" failed with error: exit status 1'
    "\n\nCommand Output: Error response from daemon: manifest for {image} not found: manifest unknown",
    "kubeadm": 'failed to init node with kubeadm: command "docker exec --privileged {name}-control-plane kubeadm init '
    '--config=/kind/kubeadm.conf --skip-token-print --v=6" failed with error: exit status 1\n\n'
    "Command Output: I1121 timed out waiting for the condition",
    "systemd": "could not find a log line that matches "
    '"Reached target .*Multi-User System.*|detected cgroup v1"',
    "port": 'command "docker run --name {name}-control-plane ..." failed with error: exit status 125\n\n'
    "Command Output: docker: Error response from daemon: driver failed programming external connectivity on endpoint "
    "{name}-control-plane: Bind for 0.0.0.0:80 failed: port is already allocated.",
    "race": 'node(s) already exist for a cluster with the name "{name}"',
    "strange": "something that nobody has seen before",
}


def main(tool: str, words: list[str]) -> int:
    with (FOLDER / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps([tool, *words]) + "\n")
    return {"kind": kind, "kubectl": kubectl}.get(tool, docker)(words)


@contextmanager
def state() -> Iterator[dict[str, Any]]:
    file, new = FOLDER / "state.json", FOLDER / f"state.{os.getpid()}"
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = json.loads(file.read_text())
        yield content
        new.write_text(json.dumps(content))
        new.replace(file)  # a test may read at any time


def fail(text: str, code: int = 1) -> NoReturn:
    print(text, file=sys.stderr, flush=True)
    sys.exit(code)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def option(words: list[str], name: str) -> str:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
        if word == f"--{name}":
            return following
    return ""


def without_daemon(now: dict[str, Any]) -> str:
    return {"down": DOWN, "permission": PERMISSION}.get(now.get("daemon", ""), "")


# kind


def kind(words: list[str]) -> int:
    if words == ["version"]:
        print("kind v0.33.0 go1.26.1 linux/amd64")
        return 0
    with state() as now:
        down = without_daemon(now)
    if down:
        fail(f'ERROR: failed to list clusters: command "docker ps -a" failed with error: exit status 1\n\n'
             f"Command Output: {down}")  # fmt: skip
    verb = " ".join(words[:2])
    name = option(words, "name")
    if verb == "get clusters":
        with state() as now:
            names = sorted(now["clusters"])
        print("\n".join(names)) if names else note("No kind clusters found.")
        return 0
    if verb == "create cluster":
        return create(words, name)
    with state() as now:
        cluster = now["clusters"].get(name)
    if verb == "delete cluster":
        return delete(name)
    if verb == "get nodes":
        if cluster is None:
            note(f'No kind nodes found for cluster "{name}".')
        else:
            print("\n".join(cluster["nodes"]))
        return 0
    if cluster is None:
        fail(f'ERROR: unknown cluster "{name}"')
    return {"export kubeconfig": export, "load docker-image": load, "load image-archive": load, "export logs": logs}[
        verb
    ](words, name, cluster)  # fmt: skip


def create(words: list[str], name: str) -> int:
    config = Path(option(words, "config")).read_text()
    image = option(words, "image") or "kindest/node:v1.37.0"
    with state() as now:
        mishap = now["mishaps"].get("create", "")
        taken = name in now["clusters"] or mishap == "race"
    if taken:
        fail("ERROR: failed to create cluster: " + CREATE["race"].format(name=name))
    if "v1alpha4" not in config:
        fail("ERROR: failed to create cluster: unknown apiVersion: kind.x-k8s.io/v1")
    if "nodez:" in config:
        fail("ERROR: failed to create cluster: unable to decode config: yaml: unmarshal errors:\n"
             "  line 3: field nodez not found in type v1alpha4.Cluster")  # fmt: skip
    note(f'Creating cluster "{name}" ...\n • Ensuring node image ({image}) 🖼  ...')
    if mishap == "hang-pulling":
        hang()
    if mishap != "hang-unheard":
        note(" ✓ Ensuring node image 🖼\n • Preparing nodes 📦  ...")
    born = time.time()
    if mishap in ("hang", "hang-later", "hang-unheard"):
        with state() as now:
            half = {"nodes": [f"{name}-control-plane"], "mishap": "no-admin-conf", "born": born}
            now["clusters"][name] = half
        if mishap == "hang-later":
            note(" ✓ Preparing nodes 📦\n • Writing configuration 📜  ...")
        hang()
    if mishap in CREATE:
        fail(
            f" ✗ Preparing nodes 📦 \nERROR: failed to create cluster: {CREATE[mishap]}".format(
                image=image, name=name
            )
        )
    workers = config.count("role: worker")
    nodes = [f"{name}-control-plane", *[f"{name}-worker{n if n > 1 else ''}" for n in range(1, workers + 1)]]
    with state() as now:
        nodes = now.get("live", {}).get("nodes") or nodes
        now["clusters"][name] = {"nodes": nodes, "mishap": "", "born": born}
    note(" ✓ Preparing nodes 📦\n ✓ Starting control-plane 🕹️")
    write_kubeconfig(Path(option(words, "kubeconfig")), name)
    note(f'Set kubectl context to "kind-{name}"\nYou can now use your cluster with:')
    return 0


def hang() -> NoReturn:
    (FOLDER / "hangs").write_text(str(os.getpid()))
    time.sleep(120)
    sys.exit(1)


def write_kubeconfig(file: Path, name: str) -> None:
    with state() as now:
        live = now.get("live", {})
        now["made"] = now.get("made", 0) + 1
        serial = now["clusters"][name].setdefault("serial", now["made"])
    certificates = live.get(
        "certificates", {"cluster": {"certificate-authority-data": f"Q0E{serial}"}, "user": {}}
    )
    key, server = f"kind-{name}", live.get("server", "https://127.0.0.1:1")
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": key,
        "clusters": [{"name": key, "cluster": {"server": server, **certificates["cluster"]}}],
        "users": [{"name": key, "user": certificates["user"]}],
        "contexts": [{"name": key, "context": {"cluster": key, "user": key}}],
    }  # fmt: skip
    file.write_text(json.dumps(content))


def delete(name: str) -> int:
    note(f'Deleting cluster "{name}" ...')
    with state() as now:
        mishap = now["mishaps"].get("delete", "")
    if mishap == "hang":
        hang()
    with state() as now:
        if mishap:
            fail(f'ERROR: failed to delete cluster "{name}": failed to delete nodes: command "docker rm -f -v '
                 f'{name}-control-plane" failed with error: exit status 1\n\nCommand Output: Error response from '
                 "daemon: cannot remove container: device or resource busy")  # fmt: skip
        cluster = now["clusters"].pop(name, None)
    if cluster:
        note(f"Deleted nodes: {json.dumps(cluster['nodes'])}")
    return 0


def export(words: list[str], name: str, cluster: dict[str, Any]) -> int:
    conf = f'command "docker exec {name}-control-plane cat /etc/kubernetes/admin.conf" failed with error: exit status 1'
    output = {
        "stopped": "Error response from daemon: container 5f0c is not running",
        "no-admin-conf": "cat: /etc/kubernetes/admin.conf: No such file or directory",
    }.get(cluster["mishap"])
    if output:
        fail(f"ERROR: failed to get cluster internal kubeconfig: {conf}\n\nCommand Output: {output}")
    if cluster["mishap"] == "no-control-plane":
        fail(f"ERROR: could not locate any control plane nodes for cluster named '{name}'. Use the --name option to "
             "select a different cluster")  # fmt: skip
    write_kubeconfig(Path(option(words, "kubeconfig")), name)
    note(f'Set kubectl context to "kind-{name}"')
    return 0


def load(words: list[str], _name: str, cluster: dict[str, Any]) -> int:
    with state() as now:
        mishap = now["mishaps"].get("load", "")
    if mishap:
        fail({"disk-full": LOAD_FULL, "digest": LOAD_DIGEST}[mishap])
    note(
        f'Image: "{words[-1]}" with ID "sha256:1" not yet present on node "{cluster["nodes"][0]}", loading...'
    )
    return 0


def logs(words: list[str], name: str, cluster: dict[str, Any]) -> int:
    folder = Path(words[-1])
    with state() as now:
        hangs = now["mishaps"].get("logs") == "hang"
    if hangs:
        hang()
    for node in cluster["nodes"]:
        (folder / node).mkdir(parents=True)
        (folder / node / "kubelet.log").write_text("a line\n")
    note(f'Exporting logs for cluster "{name}" to:')
    print(folder)
    return 0


# kubectl


def kubectl(words: list[str]) -> int:
    name = option(words, "context").removeprefix("kind-")
    with state() as now:
        cluster = now["clusters"][name]
        mishaps, live = now["mishaps"], now.get("live")
    if cluster["mishap"] == "api-down" or mishaps.get("api"):
        fail(
            "The connection to the server 127.0.0.1:35123 was refused - did you specify the right host or port?"
        )
    if "wait" in words:
        what = "node" if "node" in words else "pod"
        if mishaps.get("wait") == what:
            fail(f"error: timed out waiting for the condition on {what}s/{name}-worker2")
        print(f"{what}/any condition met")
    elif "nodes" in words and live:
        import ssl  # which take longer to load than all the rest takes
        import urllib.request

        tls = ssl.create_default_context(cafile=live["certificates"]["cluster"]["certificate-authority"])
        user = live["certificates"]["user"]
        tls.load_cert_chain(user["client-certificate"], user["client-key"])
        with urllib.request.urlopen(f"{live['server']}/api/v1/nodes", context=tls) as answer:
            sys.stdout.buffer.write(answer.read())
    elif "nodes" in words:
        joined = cluster["nodes"][: cluster.get("joined")]
        addresses = [{"type": "InternalIP", "address": mishaps.get("address", "127.0.0.1")}]
        items = [{"metadata": {"name": node}, "status": {"addresses": addresses}} for node in joined]
        print(json.dumps({"kind": "List", "items": items}))
    else:
        print(mishaps.get("images", "registry.k8s.io/coredns/coredns:v1.12.1"), end="")
    return 0


# docker


def docker(words: list[str]) -> int:
    with state() as now:
        down, info, images, containers = without_daemon(now), now["info"], now["images"], now["containers"]
        endpoint, pull = now.get("endpoint", SOCKET), now["mishaps"].get("pull")
    if words[:2] == ["context", "inspect"]:
        print(endpoint)
    elif down:
        if words[0] == "info":
            print(json.dumps({"ServerErrors": [down], "OperatingSystem": ""}))
        fail(down)
    elif words[0] == "info":
        print(json.dumps(info))
    elif words[:2] == ["image", "inspect"]:
        if words[-1] not in images:
            print("[]")
            fail(f"Error response from daemon: No such image: {words[-1]}")
        print("sha256:1")
    elif words[0] == "ps" and (of := option(words, "filter").removeprefix("label=io.x-k8s.kind.cluster=")):
        with state() as now:
            cluster = now["clusters"].get(of)
        print("\n".join(f"{cluster.get('born', 0)}-{node}" for node in cluster["nodes"]) if cluster else "")
    elif words[0] == "inspect":
        for one in words[3:]:
            born = datetime.fromtimestamp(float(one.partition("-")[0]), timezone.utc)
            print(json.dumps({"Id": one, "Created": f"{born:%Y-%m-%dT%H:%M:%S}.{born.microsecond:06}789Z"}))
    elif words[0] == "ps":
        print("\n".join("\t".join(one) for one in containers))
    elif words[0] == "pull":
        if pull:
            fail("Error response from daemon: manifest for nobody/nothing:1 not found: manifest unknown")
        print(f"Status: Downloaded newer image for {words[-1]}")
    elif words[0] == "save":
        Path(option(words, "o") or words[words.index("-o") + 1]).write_bytes(b"tar")
    elif words[0] == "run":
        os.execv(sys.executable, [sys.executable, *words[words.index("python3") + 1 :]])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
