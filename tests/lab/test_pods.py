"""Pods as the API and a shell inside show them: probes, restarts, errors, volumes, names, exec and logs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import life
import pytest
import yaml
from kubernetes import stream, watch
from kubernetes.stream.ws_client import STDERR_CHANNEL, STDOUT_CHANNEL
from lab_access import PATIENCE, LabAccess, Object, is_ready

RECORDING = json.loads((Path(__file__).parent / "recordings/pod-files.json").read_text())

#: a web server whose /ready is as /tmp/ready says
TOGGLED = """
apiVersion: v1
kind: Pod
metadata: {name: PROBE}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: python:3.13-alpine
    command:
    - python3
    - -c
    - |
      import http.server, os
      class Handler(http.server.BaseHTTPRequestHandler):
          def do_GET(self):
              self.send_response(200 if os.path.exists("/tmp/ready") else 503)
              self.end_headers()
          def log_message(self, *_):
              pass
      http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
    ports: [{name: web, containerPort: 8080}]
    readinessProbe: {PROBE_SPEC}
"""


def pod(name: str, command: list[str] | None, **spec: object) -> Object:
    container: Object = {"name": "c", "image": "python:3.13-alpine"}
    if command:
        container["command"] = command
    container |= spec.pop("container", {})  # type: ignore[call-overload]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }


def create(lab: LabAccess, space: str, obj: Object) -> Object:
    obj["metadata"]["namespace"] = space
    return lab.create(obj)


def state(found: Object) -> Object:
    statuses = found["status"].get("containerStatuses") or [{}]
    status: Object = statuses[0]
    return status


def waiting(found: Object) -> Object:
    reason: Object = state(found).get("state", {}).get("waiting") or {}
    return reason


@pytest.mark.parametrize(
    "probe",
    [
        {"httpGet": {"path": "/ready", "port": "web"}, "periodSeconds": 1, "failureThreshold": 1},
        {"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1},
    ],
    ids=["http", "exec"],
)
def test_readiness_follows_the_probe(lab: LabAccess, space: str, probe: Object) -> None:
    spec = json.dumps(probe)
    text = TOGGLED.replace("{PROBE_SPEC}", spec).replace("PROBE", "toggled")
    create(lab, space, yaml.safe_load(text))
    found = lab.pod(space, "toggled", lambda p: p["status"].get("phase") == "Running")
    assert not is_ready(found)
    ready = next(c for c in found["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == (
        "ContainersNotReady",
        "containers with unready status: [c]",
    )
    lab.exec(space, "toggled", "touch", "/tmp/ready")
    lab.pod(space, "toggled", is_ready)
    lab.exec(space, "toggled", "rm", "/tmp/ready")
    lab.pod(space, "toggled", lambda p: not is_ready(p))
    events = lab.get(f"/api/v1/namespaces/{space}/events")["items"]
    assert any(e["reason"] == "Unhealthy" and "Readiness probe failed" in e["message"] for e in events)


def test_a_tcp_probe_and_a_liveness_probe(lab: LabAccess, space: str) -> None:
    text = TOGGLED.replace("{PROBE_SPEC}", json.dumps({"tcpSocket": {"port": 8080}})).replace("PROBE", "tcp")
    create(lab, space, yaml.safe_load(text))
    command = ["sh", "-c", "touch /tmp/alive; sleep 1000"]
    probe = {"exec": {"command": ["cat", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1}
    probe["timeoutSeconds"] = PATIENCE  # a busy machine is no reason to restart
    create(lab, space, pod("living", command, container={"livenessProbe": probe}))
    lab.pod(space, "tcp", is_ready)
    lab.pod(space, "living", is_ready)
    lab.exec(space, "living", "rm", "/tmp/alive")
    again = lab.pod(space, "living", lambda p: is_ready(p) and state(p)["restartCount"] == 1)
    assert state(again)["lastState"]["terminated"]["exitCode"] != 0


def test_a_process_has_time_to_begin_before_its_liveness_counts(lab: LabAccess, space: str) -> None:
    command = ["sh", "-c", "sleep 0.3; touch /tmp/alive; sleep 1000"]
    probe = {"exec": {"command": ["cat", "/tmp/alive"]}, "periodSeconds": 5, "failureThreshold": 1}
    create(lab, space, pod("slow", command, container={"livenessProbe": probe}))
    lab.pod(space, "slow", is_ready)
    lab.exec(space, "slow", "sh", "-c", "until test -e /tmp/alive; do sleep 0.05; done")
    slow = lab.get(f"/api/v1/namespaces/{space}/pods/slow")
    assert (state(slow)["restartCount"], is_ready(slow)) == (0, True)


def test_restarts_back_off(lab: LabAccess, space: str) -> None:
    create(lab, space, pod("crash", ["sh", "-c", "echo here; exit 3"]))
    crash = lab.pod(space, "crash", lambda p: waiting(p).get("reason") == "CrashLoopBackOff")
    assert re.fullmatch(
        rf"back-off 10s restarting failed container=c pod=crash_{space}\([0-9a-f-]+\)",
        waiting(crash)["message"],
    )
    assert state(crash)["restartCount"] == 1
    ended = state(crash)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    assert crash["status"]["phase"] == "Running"
    for previous in ("false", "true"):
        answer = lab.http.get(f"/api/v1/namespaces/{space}/pods/crash/log", params={"previous": previous})
        assert answer.text == "here\n"


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Never", 0, "Succeeded"), ("Never", 4, "Failed"), ("OnFailure", 0, "Succeeded")],
)
def test_pods_that_end(lab: LabAccess, space: str, policy: str, code: int, phase: str) -> None:
    create(lab, space, pod("ends", ["sh", "-c", f"exit {code}"], restartPolicy=policy))
    ended = lab.pod(space, "ends", lambda p: p["status"].get("phase") in ("Succeeded", "Failed"))
    assert ended["status"]["phase"] == phase
    assert state(ended)["state"]["terminated"]["exitCode"] == code


def test_init_containers_run_first(lab: LabAccess, space: str) -> None:
    obj = pod("init", ["sh", "-c", "cat /shared/greeting; sleep 1000"])
    shared = [{"name": "shared", "mountPath": "/shared"}]
    obj["spec"]["volumes"] = [{"name": "shared", "emptyDir": {}}]
    obj["spec"]["containers"][0]["volumeMounts"] = shared
    write = {"name": "write", "image": "busybox", "command": ["sh", "-c", "echo hello > /shared/greeting"]}
    obj["spec"]["initContainers"] = [write | {"volumeMounts": shared}]
    create(lab, space, obj)
    lab.pod(space, "init", is_ready)
    assert lab.exec(space, "init", "cat", "/shared/greeting") == "hello\n"


def test_images_that_cannot_be_had(lab: LabAccess, space: str) -> None:
    create(lab, space, pod("nowhere", ["true"], container={"image": "registry.invalid/no:1"}))
    create(lab, space, pod("silent", None, container={"image": "nginx:1"}))
    nowhere = lab.pod(space, "nowhere", lambda p: waiting(p).get("reason") == "ErrImagePull")
    assert "lookup registry.invalid on 172.18.0.1:53: read udp" in waiting(nowhere)["message"]
    lab.pod(space, "nowhere", lambda p: waiting(p).get("reason") == "ImagePullBackOff")
    silent = lab.pod(space, "silent", lambda p: waiting(p).get("reason") == "ErrImagePull")
    assert "a lab has no images; give the container a command" in waiting(silent)["message"]
    assert silent["status"]["phase"] == "Pending"
    events = lab.get(f"/api/v1/namespaces/{space}/events")["items"]
    assert any(e["reason"] == "Failed" and "Failed to pull image" in e["message"] for e in events)


def test_commands_and_references_that_are_not_there(lab: LabAccess, space: str) -> None:
    create(lab, space, pod("nocmd", ["/no/such/program"]))
    missing = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "a"}}}
    create(lab, space, pod("noref", ["true"], container={"env": [missing]}))
    nocmd = lab.pod(
        space, "nocmd", lambda p: waiting(p).get("reason") in ("RunContainerError", "CrashLoopBackOff")
    )
    assert 'exec: "/no/such/program": stat /no/such/program: no such file or directory' in json.dumps(
        state(nocmd)
    ).replace('\\"', '"')
    noref = lab.pod(space, "noref", lambda p: waiting(p).get("reason") == "CreateContainerConfigError")
    assert waiting(noref)["message"] == 'configmap "none" not found'


VOLUMES = """
apiVersion: v1
kind: ConfigMap
metadata: {name: map}
data: {a.txt: from a map, b.txt: b}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {key: from a secret}
---
apiVersion: v1
kind: Pod
metadata: {name: volumes, labels: {color: red}}
spec:
  terminationGracePeriodSeconds: 0
  volumes:
  - {name: map, configMap: {name: map}}
  - {name: one, configMap: {name: map, items: [{key: a.txt, path: deep/renamed.txt}]}}
  - {name: secret, secret: {secretName: secret}}
  - {name: empty, emptyDir: {}}
  - name: down
    downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
  - name: all
    projected:
      sources:
      - configMap: {name: map, items: [{key: b.txt, path: map/b}]}
      - secret: {name: secret}
      - downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}
  containers:
  - name: c
    image: python:3.13-alpine
    command: [sleep, "1000"]
    env:
    - {name: PLAIN, value: plain}
    - {name: EXPANDED, value: "$(PLAIN) and $$(PLAIN) and $(NONE)"}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: KEY, valueFrom: {secretKeyRef: {name: secret, key: key}}}
    envFrom: [{prefix: MAP_, configMapRef: {name: map}}]
    volumeMounts:
    - {name: map, mountPath: /map, readOnly: true}
    - {name: one, mountPath: /one}
    - {name: secret, mountPath: /secret}
    - {name: empty, mountPath: /empty}
    - {name: down, mountPath: /down}
    - {name: all, mountPath: /all}
    - {name: map, mountPath: /single/a.txt, subPath: a.txt}
"""


def test_volumes_and_environment(lab: LabAccess, space: str) -> None:
    lab.create_all(VOLUMES, space)
    found = lab.pod(space, "volumes", is_ready)
    files = {
        "/map/a.txt": "from a map",
        "/one/deep/renamed.txt": "from a map",
        "/secret/key": "from a secret",
        "/down/labels": 'color="red"',
        "/all/map/b": "b",
        "/all/key": "from a secret",
        "/all/name": "volumes",
        "/single/a.txt": "from a map",
    }
    read = lab.exec(space, "volumes", "sh", "-c", f"for f in {' '.join(files)}; do cat $f; echo; done")
    assert dict(zip(files, read.splitlines(), strict=True)) == files
    wrote = lab.exec(
        space, "volumes", "sh", "-c", "echo x > /empty/file && cat /empty/file; echo y > /map/a.txt"
    )
    assert wrote.startswith("x\n") and "Read-only file system" in wrote
    variables = dict(line.split("=", 1) for line in lab.exec(space, "volumes", "env").splitlines())
    assert variables["EXPANDED"] == "plain and $(PLAIN) and $(NONE)"
    assert variables["NODE"] == found["spec"]["nodeName"]
    assert variables["POD_IP"] == found["status"]["podIP"]
    assert variables["KEY"] == "from a secret"
    assert variables["MAP_b.txt"] == "b"
    assert variables["KUBERNETES_SERVICE_HOST"] == lab.config.api_service_address
    assert variables["HOSTNAME"] == "volumes"


def test_a_volume_that_comes_later(lab: LabAccess, space: str) -> None:
    obj = pod("patient", ["sleep", "1000"], volumes=[{"name": "v", "configMap": {"name": "late"}}])
    create(lab, space, obj)

    def refused(events: list[Object]) -> bool:
        return any(
            e["reason"] == "FailedMount" and 'configmap "late" not found' in e["message"] for e in events
        )

    lab.wait(f"/api/v1/namespaces/{space}/events", refused)
    late = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late", "namespace": space}}
    lab.create(late)
    lab.pod(space, "patient", is_ready)


def test_names_and_resolver_are_as_recorded(lab: LabAccess, space: str) -> None:
    for recorded in RECORDING["pods"]:
        obj = json.loads(json.dumps(recorded["pod"]))
        obj["spec"]["containers"][0] = {"name": "c", "image": "busybox", "command": ["sleep", "1000"]}
        create(lab, space, obj)
    pods = {p["metadata"]["name"]: p for p in lab.ready_pods(space, len(RECORDING["pods"]))}
    questions = ["cat /etc/resolv.conf", "cat /etc/hosts", "cat /etc/hostname", "hostname", "hostname -f"]

    def ask(name: str) -> list[str]:
        answers = lab.exec(space, name, "sh", "-c", "; echo -n @@; ".join(questions))
        return answers.split("@@")

    names = list(pods)
    with ThreadPoolExecutor(4) as several:
        answers = dict(zip(names, several.map(ask, names), strict=True))
    for recorded in RECORDING["pods"]:
        name = recorded["pod"]["metadata"]["name"]
        found = pods[name]

        def here(text: str, recorded: Object = recorded, found: Object = found) -> str:
            # this lab has one address family, and other names of namespace and nodes
            text = re.sub(r"^fc00:\S+\t\S+\n", "", text, flags=re.MULTILINE)
            text = text.replace(recorded["nodeName"], found["spec"]["nodeName"])
            return text.replace(recorded["podIP"], found["status"]["podIP"]).replace("golden-dns", space)

        keys = ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "hostname", "hostname -f"]
        expected = [here(recorded[key]) for key in keys]
        assert [a.rstrip("\n") for a in answers[name]] == [e.rstrip("\n") for e in expected], name


def test_exec_keeps_streams_apart_and_tells_the_exit_code(lab: LabAccess, space: str) -> None:
    create(lab, space, pod("ex", ["sleep", "1000"]))
    lab.pod(space, "ex", is_ready)
    session = stream.stream(
        lab.core.connect_get_namespaced_pod_exec,
        "ex",
        space,
        command=["sh", "-c", "read line; echo out $line; echo err >&2; exit 5"],
        stdin=True,
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    session.write_stdin("given\n")
    session.run_forever(timeout=PATIENCE)
    assert session.read_channel(STDOUT_CHANNEL) == "out given\n"
    assert session.read_channel(STDERR_CHANNEL) == "err\n"
    assert session.returncode == 5


def test_logs_are_followed_to_the_end(lab: LabAccess, space: str) -> None:
    command = ["sh", "-c", "echo one; read x < /tmp/go; echo two; echo three >&2"]
    script = ["sh", "-c", f"mkfifo /tmp/go; {command[2]}"]
    create(lab, space, pod("lg", script, restartPolicy="Never"))
    lab.pod(space, "lg", is_ready)
    follow = watch.Watch()
    lines = follow.stream(lab.core.read_namespaced_pod_log, "lg", space)
    assert next(lines) == "one"
    lab.exec(space, "lg", "sh", "-c", "echo > /tmp/go")
    assert sorted(lines) == ["three", "two"]
    assert lab.core.read_namespaced_pod_log("lg", space, tail_lines=1).strip() in ("two", "three")


def test_a_deleted_pod_gets_its_grace(lab: LabAccess, space: str) -> None:
    stubborn = "trap 'echo term' TERM; while :; do sleep 0.05; done"
    create(lab, space, pod("stubborn", ["sh", "-c", stubborn], terminationGracePeriodSeconds=30))
    create(lab, space, pod("polite", ["sleep", "1000"], terminationGracePeriodSeconds=30))
    found = lab.ready_pods(space, 2)
    here = f"/api/v1/namespaces/{space}/pods"
    begin = time.monotonic()
    going = lab.delete(f"{here}/stubborn", gracePeriodSeconds=1)
    assert going["metadata"]["deletionGracePeriodSeconds"] == 1
    lab.delete(f"{here}/polite")
    lab.wait(here, lambda pods: "polite" not in {p["metadata"]["name"] for p in pods})
    assert time.monotonic() - begin < 25, "polite waits for its grace period although it has ended"
    lab.wait(here, lambda pods: not pods)
    assert time.monotonic() - begin >= 0.9
    for one in found:
        assert not Path(lab.lab.root, f"run/netns/pod-{one['metadata']['uid']}").exists()


def test_a_pod_that_is_killed_is_restarted(lab: LabAccess) -> None:
    pods = "/api/v1/namespaces/kube-system/pods"
    victim = lab.get(pods)["items"][0]
    name, node = victim["metadata"]["name"], victim["spec"]["nodeName"]
    restarts = victim["status"]["containerStatuses"][0]["restartCount"]
    inode = Path(lab.lab.root, f"run/netns/pod-{victim['metadata']['uid']}")
    pid = next(
        pid
        for pid in life.children(int(lab.lab.root.parent.name))
        if Path(f"/proc/{pid}/ns/net").stat().st_ino == inode.stat().st_ino
    )
    os.kill(pid, signal.SIGKILL)
    again = lab.pod(
        "kube-system",
        name,
        lambda p: is_ready(p) and p["status"]["containerStatuses"][0]["restartCount"] == restarts + 1,
    )
    assert again["spec"]["nodeName"] == node
    assert again["status"]["podIP"] == victim["status"]["podIP"]
    ended = again["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")


def test_the_machine_is_out_of_a_pods_reach(lab: LabAccess, space: str) -> None:
    """Pods see the machine's programs read-only, and nothing of its /tmp and /run or of other pods."""
    create(lab, space, pod("jail", ["sleep", "1000"]))
    lab.pod(space, "jail", is_ready)
    told = lab.exec(
        space,
        "jail",
        "sh",
        "-c",
        "ls /run /tmp; touch /usr/x /etc/x /root/x; cat /proc/net/dev",
    )
    assert told.count("Read-only file system") == 3
    assert "underlay" not in told and "eth0" in told
    assert subprocess.run(["ls", "/usr/x", "/etc/x"], capture_output=True, check=False).returncode == 2


def test_commands_that_end_at_once(lab: LabAccess, space: str) -> None:
    """Many at a time: one has ended before anybody could ask for it, and its exit code still arrives."""
    create(lab, space, pod("short", ["sleep", "1000"]))
    lab.pod(space, "short", is_ready)
    with ThreadPoolExecutor(8) as several:
        said = list(several.map(lambda n: lab.exec(space, "short", "echo", str(n)), range(40)))
    assert said == [f"{n}\n" for n in range(40)]


@pytest.mark.parametrize(
    ("script", "container", "message"),
    [
        ("printf 'why it ended' > /dev/termination-log; exit 3", {}, "why it ended"),
        ("printf 'elsewhere' > /tmp/end; exit 3", {"terminationMessagePath": "/tmp/end"}, "elsewhere"),
        (
            "echo the last line; exit 3",
            {"terminationMessagePolicy": "FallbackToLogsOnError"},
            "the last line\n",
        ),
        ("echo the last line; exit 3", {}, None),
    ],
    ids=["file", "path", "log", "none"],
)
def test_termination_messages(
    lab: LabAccess, space: str, script: str, container: Object, message: str | None
) -> None:
    create(lab, space, pod("m", ["sh", "-c", script], container=container, restartPolicy="Never"))
    found = lab.pod(space, "m", lambda p: p["status"]["phase"] == "Failed")
    assert found["status"]["containerStatuses"][0]["state"]["terminated"].get("message") == message
