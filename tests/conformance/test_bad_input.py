"""What a user can get wrong, or a machine lack: one clear line, the remedy, exit code 2 or 3, nothing left behind."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conformance.conftest import ROOT, Runner, RunResult

RUN = ["{python}", "-m", "kubereach", "run", "--report-dir", "{report}"]


def assert_told(result: RunResult, code: int, *words: str) -> None:
    assert result.code == code, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output, result.output


def kubeconfig(path: Path, server: str, **cluster: str) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_no_such_context(run_suite: Runner, tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "config", "https://127.0.0.1:1")
    result = run_suite([*RUN, f"--kubeconfig={file}", "--context", "prod"])
    assert_told(result, 2, "prod", "here")


def test_unreachable_api(run_suite: Runner, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    file = kubeconfig(tmp_path / "config", f"https://127.0.0.1:{port}")
    assert_told(run_suite([*RUN, f"--kubeconfig={file}"]), 3, f"127.0.0.1:{port}", "refused")


def expired_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now - timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "expired.crt", folder / "expired.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return cert_file, key_file


def test_expired_certificate(run_suite: Runner, tmp_path: Path) -> None:
    cert_file, key_file = expired_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse_all() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return  # the test is over
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()  # the client did not like the certificate, as it should

        thread = threading.Thread(target=refuse_all, daemon=True)
        thread.start()
        url = f"https://localhost:{listener.getsockname()[1]}"
        file = kubeconfig(tmp_path / "config", url, **{"certificate-authority": str(cert_file)})
        result = run_suite([*RUN, f"--kubeconfig={file}"])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert_told(result, 3, "expired")


#: runs the suite on a lab as on any cluster, then prints what namespaces are left
_THEN_LOOK = """
"$1" -m kubereach run --kubeconfig=$KUBECONFIG --report-dir "$2" $3
code=$?
echo "left: $(kubectl get namespaces -o name | grep kubereach)"
exit $code
"""


def in_lab(run_suite: Runner, options: str, *lab_options: str) -> RunResult:
    inside = ["sh", "-c", _THEN_LOOK, "sh", "{python}", "{report}", options]
    result = run_suite(["{python}", "-m", "kubereach", "lab", *lab_options, "run", "--", *inside])
    assert "left: \n" in result.output, result.output
    return result


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl to look at what is left")
def test_forbidden_exec(run_suite: Runner) -> None:
    result = in_lab(run_suite, "clusterip.from-pod", "--fault", "api.exec-forbidden")
    assert_told(result, 3, "exec into pod", "is forbidden", "pods/exec")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl to look at what is left")
def test_image_that_cannot_be_pulled(run_suite: Runner) -> None:
    result = in_lab(run_suite, "clusterip.from-pod --image registry.invalid/python:3")
    assert_told(result, 3, "registry.invalid/python:3", "--image")
    assert result.report["run"]["seconds"] < 15, "it fails fast, not after the world's deadline"


def test_unknown_check(run_suite: Runner) -> None:
    assert_told(run_suite([*RUN, "nodeport.every-nodes"]), 2, "nodeport.every-nodes", "nodeport.every-node")


def test_unknown_fault(run_suite: Runner) -> None:
    assert_told(run_suite([*RUN, "--fault", "proxy.tired"]), 2, "proxy.tired", "kubereach lab faults")


@pytest.mark.parametrize(
    "content", ["kind: Service\n  broken: [", "apiVersion: v1\nkind: Service\nspec: {}\n"]
)
def test_malformed_manifest(run_suite: Runner, tmp_path: Path, content: str) -> None:
    project = tmp_path / "project"
    for folder in ("suites", "manifests"):
        shutil.copytree(ROOT / folder, project / folder)
    (project / "manifests/services/clusterip.yaml").write_text(content)
    result = run_suite([*RUN, "clusterip.from-pod"], cwd=project, env={"PYTHONPATH": str(ROOT)})
    assert_told(result, 2, "clusterip.yaml")


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare (util-linux) to hide a program")
def test_no_nft(run_suite: Runner) -> None:
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/usr/local/sbin")
    assert nft is not None
    hide = 'mount -t tmpfs none "$(dirname "$0")" && shift 0 && exec "$@"'
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        hide,
        str(Path(nft).resolve()),
        *RUN,
    ]
    assert_told(run_suite(command), 3, "nft", "apt-get install nftables")


#: makes user namespaces impossible, becomes user 1000, who has no capabilities, and runs the rest
_FORBIDDEN = """
import os, sys
from pathlib import Path
from kubereach_lab import syscalls
uid, gid = os.geteuid(), os.getegid()
syscalls.unshare(syscalls.CLONE_NEWUSER)
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text(f"1000 {uid} 1")
Path("/proc/self/gid_map").write_text(f"1000 {gid} 1")
Path("/proc/sys/user/max_user_namespaces").write_text("0")
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_no_user_namespaces(run_suite: Runner) -> None:
    result = run_suite(["{python}", "-c", _FORBIDDEN, *RUN])
    assert_told(result, 3, "does not allow user and network namespaces", "sysctl -w user.max_user_namespaces")


def test_unknown_option() -> None:
    """An option that there is not: argparse's own words, exit code 2."""
    done = subprocess.run(
        [sys.executable, "-m", "kubereach", "run", "--contxt", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--contxt" in done.stdout + done.stderr
