"""kubectl exec, attach, run -it, cp, port-forward and proxy."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from lab_access import PATIENCE, LabAccess

from . import programs
from .conftest import Kubectl

#: serves its folder on localhost alone, where only port-forward gets
_SERVER = "python3 -m http.server 8080 --bind 127.0.0.1 --directory /tmp"
_MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: python:3
        command: [sh, -c, "head -c 30000000 /dev/zero > /tmp/large; echo hello > /tmp/small; exec SERVER"]
        readinessProbe:
          exec: {command: [python3, -c, "import socket; socket.create_connection(('127.0.0.1', 8080))"]}
          timeoutSeconds: 10
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
""".replace("SERVER", _SERVER)


@pytest.fixture(scope="module")
def kubectl(lab: LabAccess) -> Iterator[Kubectl]:
    """kubectl in a namespace with a Deployment that serves."""
    program, namespace = programs.kubectl(), "streams"
    lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    made = Kubectl(program, lab, namespace)
    made.ok("apply", "-f", "-", stdin=_MANIFEST)
    made.ok("rollout", "status", "deployment/web", "--timeout=30s")
    yield made
    lab.delete(f"/api/v1/namespaces/{namespace}")


class Terminal:
    """A kubectl under a pseudo-terminal of its own."""

    def __init__(self, kubectl: Kubectl, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.resize(30, 70)
        self.process = subprocess.Popen(
            [*kubectl.command, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=kubectl.environment | {"TERM": "xterm"},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.seen = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, text: str) -> None:
        """Reads until `text` is there; what was read up to it is forgotten."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            ready, _, _ = select.select([self._master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come, but {self.seen!r}"
            try:
                self.seen += os.read(self._master, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"{text!r} did not come, but {self.seen!r} and the end") from None
        self.seen = self.seen.partition(text)[2]

    def close(self) -> int:
        """Waits for the end; the exit code."""
        code = self.process.wait(PATIENCE)
        os.close(self._master)
        return code


def test_exec(kubectl: Kubectl) -> None:
    assert kubectl.ok("exec", "deployment/web", "--", "echo", "hi") == "hi\n"
    assert kubectl.ok("exec", "-i", "deployment/web", "--", "cat", stdin="abc") == "abc"
    failed = kubectl.run("exec", "deployment/web", "--", "sh", "-c", "echo oops >&2; exit 3")
    assert (failed.returncode, failed.stderr.splitlines()[0]) == (3, "oops")
    missing = kubectl.run("exec", "deployment/web", "--", "/nosuch")
    assert (missing.returncode, "/nosuch: no such file or directory" in missing.stderr) == (1, True)
    nobody = kubectl.run("exec", "deployment/web", "-c", "nosuch", "--", "true")
    assert (nobody.returncode, "container nosuch is not valid for pod web-" in nobody.stderr) == (1, True)


def test_a_shell_in_a_terminal(kubectl: Kubectl) -> None:
    terminal = Terminal(kubectl, "exec", "-it", "deployment/web", "--", "sh")
    terminal.type("stty size; tty\n")
    terminal.expect("30 70\r\n")
    terminal.expect("/dev/pts/")
    terminal.resize(40, 120)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    # the new size travels beside what is typed: the shell is asked until it knows
    terminal.type("until [ \"$(stty size)\" = '40 120' ]; do sleep 0.01; done; echo res''ized\n")
    terminal.expect("resized\r\n")
    terminal.type("cat\n")
    terminal.type("twice\n")
    # once by the terminal, once by cat, which is what the interrupt is for then
    terminal.expect("twice\r\n")
    terminal.expect("twice\r\n")
    terminal.type("\x03")  # which also throws away what was typed before and not read
    terminal.expect("^C")
    terminal.expect("# ")
    terminal.type("echo inter''rupted\n")
    terminal.expect("interrupted\r\n")
    terminal.type("exit 5\n")
    assert terminal.close() == 5


def test_run_in_a_terminal_and_attach(kubectl: Kubectl) -> None:
    run = ("run", "t", "-it", "--restart=Never", "--image=busybox", "--command", "--", "sh")
    terminal = Terminal(kubectl, *run)
    terminal.expect("If you don't see a command prompt, try pressing enter.")
    terminal.type("x=kept; echo he''re\n")
    terminal.expect("here\r\n")
    terminal.process.kill()
    terminal.close()
    terminal = Terminal(kubectl, "attach", "-it", "t")
    terminal.type("echo $x; stty size\n")
    terminal.expect("kept\r\n")
    terminal.type("exit 0\n")
    assert terminal.close() == 0
    phase = "jsonpath={.status.phase}"
    assert kubectl.ok("get", "pod", "t", "-o", phase) == "Succeeded"
    assert "kept" in kubectl.ok("logs", "t")


def test_run_with_input_and_removal(kubectl: Kubectl) -> None:
    run = ("run", "r", "--rm", "-i", "--restart=Never", "--image=busybox", "--command", "--")
    done = kubectl.run(*run, "sh", "-c", "read x; echo got $x", stdin="line\n")
    assert (done.returncode, "got line" in done.stdout, '"r" deleted' in done.stdout) == (0, True, True)
    failed = kubectl.run(*run, "sh", "-c", "read x; exit 4", stdin="line\n")
    assert failed.returncode == 4
    assert "not found" in kubectl.run("get", "pod", "r").stderr


def test_files_are_copied(kubectl: Kubectl, tmp_path: Path) -> None:
    pod = kubectl.ok("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(os.urandom(3_000_000))
    kubectl.ok("cp", str(sent), f"{pod}:/tmp/copied")
    kubectl.ok("cp", f"{pod}:/tmp/copied", str(back))
    assert back.read_bytes() == sent.read_bytes()


@contextmanager
def forwarded(kubectl: Kubectl, what: str, *ports: str) -> Iterator[list[str]]:
    """The URLs of ports of this machine that lead to a pod."""
    with kubectl.start("port-forward", what, *ports) as process:
        assert process.stdout is not None
        urls: list[str] = []
        while len(urls) < len(ports):
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            if found := re.match(r"Forwarding from (127\.0\.0\.1:\d+)", line):
                urls.append(f"http://{found[1]}")
        yield urls
        process.terminate()
        process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("what", ["deployment/web", "service/web", "pod"])
def test_ports_are_forwarded(kubectl: Kubectl, what: str) -> None:
    if what == "pod":
        what = kubectl.ok("get", "pods", "-l", "app=web", "-o", "name").strip()
    port = ":80" if what.startswith("service") else ":8080"
    with forwarded(kubectl, what, port) as (url,), httpx.Client(base_url=url, timeout=PATIENCE) as client:
        for _ in range(10):
            assert client.get("/small").text == "hello\n"
        assert client.get("/nosuch").status_code == 404
        assert len(client.get("/large").content) == 30_000_000


def test_a_port_that_is_closed(kubectl: Kubectl) -> None:
    with forwarded(kubectl, "deployment/web", ":9") as (url,), pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url, timeout=PATIENCE)


def test_proxy(kubectl: Kubectl) -> None:
    with kubectl.start("proxy", "--port=0") as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        path = f"/api/v1/namespaces/{kubectl.namespace}/services"
        answer = httpx.get(f"http://{address}{path}", timeout=PATIENCE)
        assert [item["metadata"]["name"] for item in json.loads(answer.text)["items"]] == ["web"]
        process.terminate()
