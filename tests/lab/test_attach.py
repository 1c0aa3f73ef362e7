"""attach over WebSocket: to a container's own process, which goes on when its client leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
from lab_access import LabAccess, Object
from websocket import ABNF, WebSocket, WebSocketBadStatusException

V5 = "v5.channel.k8s.io"
STDIN, STDOUT, ERROR, RESIZE = b"\x00", 1, 3, b"\x04"
#: more than all buffers on the way hold
_LOUD = 40_000_000
Attach = Callable[..., WebSocket]


@pytest.fixture
def attach(lab: LabAccess, space: str) -> Iterator[Attach]:
    """Attaches to a container of a pod whose containers read their standard input."""
    cat: Object = {"name": "cat", "image": "busybox", "command": ["cat"], "stdin": True, "stdinOnce": True}
    shell: Object = {"name": "shell", "image": "busybox", "command": ["sh"], "stdin": True, "tty": True}
    script = f"read x; head -c {_LOUD} /dev/zero"
    loud: Object = {"name": "loud", "image": "busybox", "command": ["sh", "-c", script], "stdin": True}
    spec = {"containers": [cat, shell, loud], "terminationGracePeriodSeconds": 0, "restartPolicy": "Never"}
    metadata = {"name": "p", "namespace": space}
    lab.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    lab.ready_pods(space, 1)
    opened: list[WebSocket] = []

    def connect(container: str, **query: str) -> WebSocket:
        asked = urlencode({"container": container, "stdin": "true", "stdout": "true", **query})
        path = f"/api/v1/namespaces/{space}/pods/p/attach?{asked}"
        opened.append(lab.websocket(path, V5))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


def received(connection: WebSocket, *, until: bytes = b"") -> tuple[bytes, Object]:
    """What comes on stdout up to a text, or up to the end with the status that is told then."""
    out, result = bytearray(), {}
    while True:
        code, data = connection.recv_data()
        if code == ABNF.OPCODE_CLOSE:
            return bytes(out), result
        if data[0] == STDOUT:
            out += data[1:]
        elif data[0] == ERROR:
            result = json.loads(data[1:])
        if until and until in out:
            return bytes(out), result


def test_a_terminal_is_attached_to_again_and_again(attach: Attach) -> None:
    for number in range(2):
        connection = attach("shell", tty="true")
        connection.send_binary(RESIZE + b'{"Width":%d,"Height":40}' % (90 + number))
        connection.send_binary(STDIN + b"stty size; echo $((40 + 2))\n")
        out, _ = received(connection, until=b"42\r\n")
        assert b"40 %d\r\n" % (90 + number) in out
        connection.close()  # which leaves the shell alone


def test_a_container_ends_with_its_input(attach: Attach, lab: LabAccess, space: str) -> None:
    connection = attach("cat")
    connection.send_binary(STDIN + b"abc\n")
    connection.send_binary(b"\xff" + STDIN)
    out, result = received(connection)
    assert (out, result["status"]) == (b"abc\n", "Success")
    assert lab.core.read_namespaced_pod_log("p", space, container="cat") == "abc\n"
    with pytest.raises(WebSocketBadStatusException) as refused:
        attach("cat")
    assert refused.value.status_code == 500
    assert (refused.value.resp_body or b"").decode() == 'container not found ("cat")'


def test_a_container_waits_for_who_is_attached(attach: Attach, lab: LabAccess, space: str) -> None:
    connection = attach("loud")
    connection.send_binary(STDIN + b"go\n")
    # others are served meanwhile
    for _ in range(3):
        out = lab.exec(space, "p", "head", "-c", "3000000", "/dev/zero", container="shell")
        assert len(out) == 3_000_000
    states = lab.get(f"/api/v1/namespaces/{space}/pods/p")["status"]["containerStatuses"]
    assert "running" in next(state["state"] for state in states if state["name"] == "loud")
    out, result = received(connection)
    assert (len(out), result["status"]) == (_LOUD, "Success")
