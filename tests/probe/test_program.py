"""The peer's program as it is shipped: what is in it, and that it runs however it has come."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from backends import NONCE, SECRET
from certificates import certificate
from odd_servers import unused_port

from kubereach.probe import Series, Vantage
from kubereach.probe.program import FOLDER, bundle, files
from kubereach.probe.remote import CommandVantage
from kubereach.probe.streams import ProcessStream
from kubereach.probe.vantage import POD

SOURCES = {**files(), "the bundle": bundle().decode()}


def imports(source):
    """The modules that a source names in its imports: of its own package ("" and "peer"), and others."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level <= 1, "there is no package around that of the peer"
            yield "" if node.level else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("name", SOURCES)
def test_only_syntax_and_modules_of_python_3_8(name):
    """As far as this interpreter can tell: the grammar, and that nothing but the standard library is imported."""
    ast.parse(SOURCES[name], feature_version=(3, 8))
    imported = {module.partition(".")[0] for module in imports(SOURCES[name])}
    assert imported <= set(sys.stdlib_module_names) | {"", "peer"}


def test_the_folder_is_what_a_config_map_holds():
    assert {file.name for file in FOLDER.iterdir() if file.name != "__pycache__"} == set(files())
    assert {"__main__.py", "main.py", "server.py", "prober.py"} < set(files())
    assert sum(map(len, files().values())) < 200_000  # a ConfigMap holds a megabyte


def test_no_module_has_the_name_of_one_of_the_standard_library():
    """Where the folder is run it comes before that on the path."""
    names = {name.removesuffix(".py") for name in files()}
    assert names & set(sys.stdlib_module_names) == set()


def test_the_package_itself_runs_nothing():
    """In a pod nobody imports it."""
    (docstring,) = ast.parse(files()["__init__.py"]).body
    assert isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)


@pytest.fixture(params=["folder", "bundle"])
def shipped(request, tmp_path, multiplexer, context):
    """A vantage whose prober came through a command, or as plain files, laid out as the kubelet does a ConfigMap's."""
    if request.param == "bundle":
        return CommandVantage(sys.executable, multiplexer, context)
    mount = tmp_path / "any-name.at-all"
    (mount / "..2026_12_01").mkdir(parents=True)
    (mount / "..data").symlink_to("..2026_12_01")
    for name, text in files().items():
        (mount / "..data" / name).write_text(text)
        (mount / name).symlink_to(f"..data/{name}")
    command = [sys.executable, "-u", "-I", str(mount), "probe"]
    return Vantage(POD, "one", lambda: ProcessStream(command), multiplexer, context)


def test_it_has_all_that_it_needs_for_each_kind_of_series(shipped, serve, tmp_path):
    backend = serve("a")
    certificate(tmp_path, days=1)
    ca = (tmp_path / "tls.crt").read_text()

    def run(kind, port, secret="", **more):
        series = Series(
            kind,
            "localhost" if kind == "resolve" else "127.0.0.1",
            port,
            nonce=NONCE,
            secret=secret,
            more=more,
        )
        return shipped.run(series).probes[0].answer

    answers = [run(kind, backend.ports[kind]) for kind in ("http", "tcp", "udp")]
    answers += [
        run("flow", backend.ports["tcp"], transport="tcp"),
        run("transfer", backend.ports["http"], size=100_000),
        run("ready", backend.ports["http"], SECRET, on=False),
        run("resolve", 0),
        run("file", 0, path="/etc/hosts"),
    ]
    assert [answer.outcome for answer in answers] == ["ok"] * len(answers), answers
    assert run("tls", unused_port(), ca=ca).outcome == "refused"


def loaded(*arguments):
    """The modules that the program imports until it has greeted, or until it serves."""
    command = [sys.executable, "-X", "importtime", str(FOLDER), *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stderr
        process.stdin.close()
        lines = process.stderr.read().decode().splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


def test_a_prober_reads_only_what_it_needs_to_greet():
    """Where the folder is read-only each start compiles what it imports, and pods get little CPU."""
    modules = loaded("probe")
    assert "peer.prober" in modules
    assert not modules & {
        "peer.server",
        "peer.handlers",
        "peer.flows",
        "peer.transfers",
        "peer.tls",
        "ssl",
        "typing",
    }
