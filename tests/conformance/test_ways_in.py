"""What may be between us and the API server: HTTP proxies, and plugins that get the credentials."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml

from tests.conformance.conftest import ROOT, Runner
from tests.conformance.test_existing import in_lab, parts_of

_PROXY = ROOT / "tests" / "conformance" / "connect_proxy.py"
#: starts two proxies, and writes a kubeconfig that names the first
_SCRIPT = r"""
cd {folder}
{python} {proxy} 3128 {folder}/open & open=$!
{python} {proxy} 3129 {folder}/closed user:pass%word & closed=$!
trap 'kill $open $closed' EXIT
sed 's,{server:,{proxy-url: "http://127.0.0.1:3128"\, server:,' "$KUBECONFIG" >{folder}/proxied
cp "$(dirname "$KUBECONFIG")"/*.crt "$(dirname "$KUBECONFIG")"/*.key {folder}/ 2>/dev/null
up='import socket; [socket.create_connection(("127.0.0.1", port)) for port in (3128, 3129)]'
until {python} -c "$up" 2>/dev/null; do :; done
try() { echo "== $1"; shift; "$@"; echo "code $?"; }
run="{python} -m kubereach run --report-dir {folder}/report clusterip.from-pod"
unset HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy
try kubeconfig env NO_PROXY='*' $run --kubeconfig {folder}/proxied
echo "== first"; cat open; : >open
try password env HTTPS_PROXY=http://user:pass%25word@127.0.0.1:3129 $run --kubeconfig "$KUBECONFIG"
echo "== second"; cat closed
try excepted env HTTPS_PROXY=http://127.0.0.1:9 NO_PROXY=172.18.0.0/16 $run --kubeconfig "$KUBECONFIG"
try plain env HTTP_PROXY=http://127.0.0.1:9 $run --kubeconfig "$KUBECONFIG"
try dead env HTTPS_PROXY=http://127.0.0.1:9 $run --kubeconfig "$KUBECONFIG"
try wrong env HTTPS_PROXY=http://user:secret@127.0.0.1:3129 $run --kubeconfig "$KUBECONFIG"
try socks env HTTPS_PROXY=socks5://user:secret@127.0.0.1:3129 $run --kubeconfig "$KUBECONFIG"
"""


def test_proxies_are_those_that_kubectl_would_take(tmp_path: Path, run_suite: Runner) -> None:
    script = _SCRIPT.replace("{folder}", str(tmp_path)).replace("{proxy}", str(_PROXY))
    script = script.replace("RUN", "run")
    result = in_lab(run_suite, script, "--nodes", "1")
    parts = parts_of(result.output)
    for name in ("kubeconfig", "password", "excepted", "plain"):
        assert "1 passed" in parts[name] and "code 0" in parts[name], result.output
    # requests, watches and exec: many connections, all to the API server
    for name in ("first", "second"):
        asked = [line for line in parts[name].splitlines() if line.startswith("CONNECT")]
        assert len(asked) > 5 and set(asked) == {"CONNECT 172.18.0.2:6443"}
    for name in ("dead", "wrong"):
        assert "cannot reach the API server" in parts[name] and "code 3" in parts[name]
    assert "(through the proxy http://127.0.0.1:9)" in parts["dead"]
    assert "407" in parts["wrong"]
    assert "the proxy socks5://127.0.0.1:3129 cannot be used" in parts["socks"] and "code 2" in parts["socks"]
    assert "secret" not in parts["wrong"] + parts["socks"]


def test_a_proxy_of_this_machine_is_no_affair_of_the_lab(run_suite: Runner) -> None:
    command = [
        "{python}",
        "-m",
        "kubereach",
        "run",
        "--nodes=1",
        "--report-dir={report}",
        "clusterip.from-pod",
    ]
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), "http://127.0.0.1:9")
    result = run_suite(command, env=nowhere)
    assert result.code == 0, result.output


def plugin(folder: Path, body: str) -> Path:
    """A kubeconfig whose credentials come from a script; it is completed in the lab."""
    script = folder / "login"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    how = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(script),
        "interactiveMode": "Never",
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "SERVER", "certificate-authority": "ca.crt"}}],
        "users": [{"name": "x", "user": {"exec": how}}],
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(content))
    return file


_PLUGIN = """
echo '{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}' >{folder}/request
kubectl create --raw /api/v1/namespaces/default/serviceaccounts/default/token -f {folder}/request |
  {python} -c 'import json, sys; print(json.load(sys.stdin)["status"]["token"])' >{folder}/token
kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\\.crt}' >{folder}/ca.crt
server=$(kubectl config view -o jsonpath='{.clusters[0].cluster.server}')
sed -i "s,SERVER,$server," {folder}/kubeconfig
{python} -m kubereach run --kubeconfig {folder}/kubeconfig --report-dir {report} clusterip.from-pod; echo "code $?"
"""


def credential(expires: str) -> str:
    status = {"token": "TOKEN", "expirationTimestamp": expires}
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return json.dumps(answer)


def test_a_plugin_gets_the_credentials_and_new_ones_when_they_end(tmp_path: Path, run_suite: Runner) -> None:
    answer = credential("2020-01-01T00:00:00Z").replace("TOKEN", "'$(cat " + str(tmp_path / "token") + ")'")
    plugin(tmp_path, f"echo asked >>{tmp_path}/asked\necho '{answer}'")
    result = in_lab(run_suite, _PLUGIN.replace("{folder}", str(tmp_path)), "--nodes", "1")
    assert "1 passed" in result.output and "code 0" in result.output, result.output
    assert len((tmp_path / "asked").read_text().split()) > 2, "what has ended is asked for anew"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "echo 'Your session has expired, please log in.' >&2; exit 1",
            "Your session has expired, please log in.",
        ),
        ("echo no JSON", "failed to decode process output"),
        (
            """echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "x", "status": {}}'""",
            "missing token",
        ),
    ],
)
def test_a_plugin_that_fails_is_one_clear_line(
    body: str, words: str, tmp_path: Path, run_suite: Runner
) -> None:
    kubeconfig = plugin(tmp_path, body)
    kubeconfig.write_text(kubeconfig.read_text().replace("SERVER", "https://192.0.2.1:6443"))
    (tmp_path / "ca.crt").write_text("")
    command = ["{python}", "-m", "kubereach", "run", "--report-dir={report}", f"--kubeconfig={kubeconfig}"]
    result = run_suite(command)
    assert result.code == 3, result.output
    assert "kubereach: the credential plugin failed: " in result.output
    assert words in result.output and "Traceback" not in result.output
