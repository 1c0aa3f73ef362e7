"""What goes wrong between here and the API server is one clear line with a remedy."""

from __future__ import annotations

import http.server
import json
import socket
import struct
import threading
import time

import pytest
import yaml
from certificates import certificate
from odd_servers import Odd, close, unused_port

from kubereach.kube.access import ClusterAccess
from kubereach.kube.client import Api, ApiError, path_of
from kubereach.kube.failures import has_expired
from kubereach.model.errors import CannotMeasure, Unreachable, UsageError


def api_for(folder, server, user=None, patience=30.0):
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": server}}],
        "users": [{"name": "x", "user": user or {}}],
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return Api(ClusterAccess(file, None, "test"), patience)


#: what a server may do in place of answering with a status
BREAK, TAKE_AND_BREAK, NONSENSE = "break", "take and break", "nonsense"


class Server(http.server.BaseHTTPRequestHandler):
    """Answers every request with `status` and a Status body, and notes what was asked."""

    status = 200
    asked: list = []  # noqa: RUF012 - reset for each test
    watched: tuple = ()
    #: statuses of the first answers
    first: list = []  # noqa: RUF012 - reset for each test
    retry_after = ""
    #: what was created, and seconds that it takes
    created: list = []  # noqa: RUF012 - reset for each test
    delay = 0.0
    protocol_version = "HTTP/1.1"

    def is_first(self):
        """Whether this is one of the first answers, which is then given."""
        if not self.first:
            return False
        what = self.first.pop(0)
        if what in (BREAK, TAKE_AND_BREAK):
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return True
        body = b"<html>" if what == NONSENSE else b""
        self.send_response(200 if what == NONSENSE else what)
        if self.retry_after:
            self.send_header("Retry-After", self.retry_after)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return True

    def do_POST(self):
        obj = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.first[:1] == [TAKE_AND_BREAK]:
            self.created.append(obj)
        if self.is_first():
            return
        time.sleep(self.delay)
        status = 409 if self.created else 201
        if status == 201:
            self.created.append(obj)
        data = json.dumps(obj if status == 201 else {"kind": "Status", "reason": "AlreadyExists"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_PATCH(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self):
        if self.is_first():
            return
        self.asked.append((self.path, self.headers.get("Authorization")))
        body = {"kind": "Status", "reason": "Because", "message": "because of this"}
        if self.status == 200:
            body = {
                "kind": "PodList",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": "7"},
                "items": [{"metadata": {}}],
            }
        if self.created and self.path.endswith("/x"):
            body = self.created[0]
        lines = [json.dumps(body)]
        if "watch=true" in self.path:
            lines = [json.dumps(event) for event in self.watched]
        data = ("\n".join(lines) + "\n").encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_DELETE(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Server.status, Server.asked, Server.watched, Server.first = 200, [], (), []
    Server.created, Server.delay, Server.retry_after = [], 0.0, ""
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


def test_nobody_listens(tmp_path):
    with pytest.raises(CannotMeasure, match=r"cannot reach the API server .*: .*refused") as error:
        api_for(tmp_path, f"https://127.0.0.1:{unused_port()}").get("/version")
    assert error.value.remedy


def test_a_name_that_does_not_resolve(tmp_path):
    with pytest.raises(CannotMeasure, match="cannot reach the API server"):
        api_for(tmp_path, "https://no-such-host.invalid:6443").get("/version")


def test_no_tls_there(tmp_path, server):
    with pytest.raises(CannotMeasure, match="TLS"):
        api_for(tmp_path, server.replace("http:", "https:")).get("/version")


def test_an_expired_client_certificate_is_told_whatever_the_server_does(tmp_path):
    user = certificate(tmp_path, days=-1)
    assert has_expired(str(tmp_path / "tls.crt"))
    with pytest.raises(CannotMeasure, match="expired"):
        api_for(tmp_path, f"https://127.0.0.1:{Odd(close).port}", user).get("/version")
    with pytest.raises(CannotMeasure, match="refused"):
        api_for(tmp_path, f"https://127.0.0.1:{unused_port()}", user).get("/version")
    assert not has_expired(str(tmp_path / "none"))
    certificate(tmp_path, days=1)
    assert not has_expired(str(tmp_path / "tls.crt"))


def test_unauthorized(tmp_path, server):
    Server.status = 401
    with pytest.raises(CannotMeasure, match="401 Unauthorized") as error:
        api_for(tmp_path, server, {"token": "secret"}).get("/api/v1/pods")
    assert "secret" not in str(error.value)
    assert Server.asked == [("/api/v1/pods", "Bearer secret")]


def test_a_server_that_is_busy_is_asked_again(tmp_path, server):
    api = api_for(tmp_path, server)
    Server.first = [429, 503, 500, 502, 504]
    assert api.get("/api/v1/pods")["kind"] == "PodList"
    # deleting twice is deleting once
    Server.first = [429, 500]
    api.delete("/api/v1/pods/x")
    assert not Server.first


def test_and_not_for_ever(tmp_path, server):
    api = api_for(tmp_path, server, patience=0.5)
    api.get("/api/v1/pods")
    Server.first = [429] * 99
    begun = time.monotonic()
    with pytest.raises(ApiError, match="429"):
        api.get("/api/v1/pods")
    assert 0.4 < time.monotonic() - begun < 5
    assert 90 < len(Server.first) < 98


def test_the_server_says_how_long_to_wait(tmp_path, server):
    api = api_for(tmp_path, server)
    Server.first, Server.retry_after = [429], "1"
    begun = time.monotonic()
    api.get("/api/v1/pods")
    assert time.monotonic() - begun >= 1


def test_a_connection_that_broke_is_made_again(tmp_path, server):
    """A balancer drops idle connections; a control plane restarts one of its API servers."""
    api = api_for(tmp_path, server)
    api.get("/api/v1/pods")
    Server.first = [BREAK, BREAK]
    assert api.get("/api/v1/pods")["kind"] == "PodList"
    Server.first = [BREAK]
    api.delete("/api/v1/pods/x")
    Server.first = [BREAK]
    assert api.patch("/api/v1/pods/x", {})["kind"] == "PodList"
    assert not Server.first


def test_a_request_that_is_repeated_ends_with_the_run(tmp_path, server):
    api = api_for(tmp_path, server, patience=60)
    api.get("/api/v1/pods")
    Server.first = [503] * 999
    threading.Timer(0.5, api.close).start()
    begun = time.monotonic()
    with pytest.raises((ApiError, CannotMeasure)):
        api.get("/api/v1/pods")
    assert time.monotonic() - begun < 10
    Server.first = []
    with pytest.raises(CannotMeasure, match="the run has ended"):
        api.get("/api/v1/pods")


def test_who_is_interrupted_waits_for_no_request_to_be_repeated(tmp_path, server):
    api = api_for(tmp_path, server, patience=60)
    api.get("/api/v1/pods")
    Server.first = [503] * 999
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), api.threads(1) as pool:
        pool.submit(api.get, "/api/v1/pods")
        time.sleep(0.3)
        raise KeyboardInterrupt
    assert time.monotonic() - begun < 10
    Server.first = [503]
    assert api.get("/api/v1/pods")["kind"] == "PodList", "what comes afterwards is repeated again"


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "a", "labels": {"l": "m"}}}


def test_an_object_whose_creation_was_never_answered_is_found_and_not_doubled(tmp_path, server):
    api = api_for(tmp_path, server)
    api.get("/api/v1/pods")
    # the server takes it, and the connection breaks before the answer
    Server.first = [TAKE_AND_BREAK]
    created = api.create(POD)
    assert created["metadata"]["labels"] == {"l": "m"}
    assert len(Server.created) == 1
    # the connection breaks before the server takes it
    Server.created.clear()
    Server.first = [BREAK]
    api.create(POD)
    assert len(Server.created) == 1


def test_an_object_that_is_somebody_elses_is_not_taken_for_ours(tmp_path, server):
    api = api_for(tmp_path, server)
    api.create(POD)
    for first in ([], [BREAK], [429]):
        Server.first = first
        with pytest.raises(ApiError, match="409"):
            api.create(POD)


def test_nothing_is_created_once_all_is_removed(tmp_path, server):
    api = api_for(tmp_path, server)
    Server.delay = 0.5
    creating = threading.Thread(target=api.create, args=(POD,))
    creating.start()
    while not api._under_way:
        pass
    api.end_creation(10)
    assert len(Server.created) == 1, "what was under way is there to be listed"
    with pytest.raises(CannotMeasure, match="the run has ended"):
        api.create(POD)
    creating.join()


def test_what_is_no_kubernetes_object_is_told(tmp_path, server):
    Server.first = [NONSENSE]
    with pytest.raises(CannotMeasure, match="not a Kubernetes object"):
        api_for(tmp_path, server).get("/api/v1/pods")


def test_an_exec_that_is_refused_is_told_by_the_message_of_the_status(tmp_path, server):
    Server.status = 400
    with pytest.raises(CannotMeasure) as error:
        api_for(tmp_path, server).exec("a", "b", "peer", ["true"], 5)
    assert error.value.message == "exec into pod a/b failed: because of this"
    Server.status = 403
    with pytest.raises(CannotMeasure) as error:
        api_for(tmp_path, server).exec("a", "b", "peer", ["true"], 5)
    assert error.value.message == "exec into pod a/b is forbidden: because of this"
    assert "container=peer" in Server.asked[-1][0]
    Server.status = 503
    with pytest.raises(Unreachable, match="failed: because of this\n"):
        api_for(tmp_path, server).exec("a", "b", "peer", ["true"], 5)


def test_an_exec_that_nobody_answers_ends(tmp_path):
    silent = socket.create_server(("127.0.0.1", 0))
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="exec into pod a/b failed"):
        api_for(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}").exec("a", "b", "peer", ["x"], 0.5)
    assert time.monotonic() - begun < 5
    silent.close()


def test_refusals_carry_the_servers_words(tmp_path, server):
    Server.status = 403
    api = api_for(tmp_path, server)
    with pytest.raises(ApiError) as error:
        api.get("/api/v1/pods")
    assert (error.value.status, error.value.reason, error.value.message) == (
        403,
        "Because",
        "because of this",
    )
    assert api.find("/api/v1/pods") is None


def test_watch(tmp_path, server):
    Server.watched = (
        {"type": "ADDED", "object": {"n": 1}},
        {"type": "BOOKMARK", "object": {"n": 2}},
        {"type": "DELETED", "object": {"n": 3}},
        {"type": "ERROR", "object": {"code": 410}},
        {"type": "ADDED", "object": {"n": 4}},
    )
    seen = list(api_for(tmp_path, server).watch("/api/v1/pods", 10, labelSelector="a=b"))
    assert seen[0][0] == "LISTED"
    assert seen[0][1]["items"] == [{"metadata": {}, "kind": "Pod", "apiVersion": "v1"}]
    assert seen[1:] == [("ADDED", {"n": 1}), ("DELETED", {"n": 3})]
    assert "resourceVersion=7" in Server.asked[1][0]


def test_paths():
    assert path_of(("v1", "Namespace"), name="a") == "/api/v1/namespaces/a"
    assert path_of(("v1", "Pod"), "a", "b") == "/api/v1/namespaces/a/pods/b"
    assert path_of(("apps/v1", "Deployment"), "a") == "/apis/apps/v1/namespaces/a/deployments"


def test_a_kubeconfig_that_cannot_be_used(tmp_path):
    file = tmp_path / "kubeconfig"
    file.write_text("a: [")
    with pytest.raises((UsageError, CannotMeasure)):
        Api(ClusterAccess(file, None, "test"))
