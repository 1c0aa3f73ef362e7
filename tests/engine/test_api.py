"""What goes wrong between here and the API server is one clear line with a remedy."""

from __future__ import annotations

import datetime
import http.server
import json
import threading

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from test_peer import Odd, close, unused_port

from kubereach.api import Api, ApiError, has_expired, path_of
from kubereach.errors import CannotMeasure, UsageError
from kubereach.targets import ClusterAccess


def certificate(folder, days):
    """A self-signed certificate and its key that are valid for `days` from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "someone")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "tls.crt").write_bytes(made.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.key").write_bytes(private)
    return {"client-certificate": "tls.crt", "client-key": "tls.key"}


def api_for(folder, server, user=None):
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
    return Api(ClusterAccess(file, None, "test"))


class Server(http.server.BaseHTTPRequestHandler):
    """Answers every request with `status` and a Status body, and notes what was asked."""

    status = 200
    asked: list = []  # noqa: RUF012 - reset for each test
    watched: tuple = ()
    #: statuses of the first answers
    first: list = []  # noqa: RUF012 - reset for each test

    def do_GET(self):
        if self.first:
            self.send_response(self.first.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
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
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


def test_nobody_listens(tmp_path):
    with pytest.raises(CannotMeasure, match=r"cannot be reached: .*refused") as error:
        api_for(tmp_path, f"https://127.0.0.1:{unused_port()}").get("/version")
    assert error.value.remedy


def test_a_name_that_does_not_resolve(tmp_path):
    with pytest.raises(CannotMeasure, match="cannot be reached"):
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


def test_a_server_that_is_busy_is_asked_again(tmp_path, server, monkeypatch):
    monkeypatch.setattr("kubereach.api._PAUSES", (0.01,) * 4)
    api = api_for(tmp_path, server)
    Server.first = [429, 503, 429]
    assert api.get("/api/v1/pods")["kind"] == "PodList"
    Server.first = [429]
    api.delete("/api/v1/pods/x")
    # what failed half-way may have been done
    Server.first = [500]
    with pytest.raises(ApiError, match="500"):
        api.delete("/api/v1/pods/x")
    assert not Server.first


def test_and_not_for_ever(tmp_path, server, monkeypatch):
    monkeypatch.setattr("kubereach.api._PAUSES", (0.01,) * 4)
    Server.first = [429] * 9
    with pytest.raises(ApiError, match="429"):
        api_for(tmp_path, server).get("/api/v1/pods")
    assert len(Server.first) == 4


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
