"""The command line: what it says, what it exits with, and how fast it is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kubereach.cli import main
from kubereach.model.check import Check
from kubereach.model.errors import UsageError
from kubereach.model.settings import Settings
from kubereach.run.catalogue import read_checks, suites_folder

SUITE = '''
from kubereach import check, CORE, EXT, DOCS, LOADBALANCER, MULTI_NODE

@check("demo.one", level=CORE, needs=(LOADBALANCER, MULTI_NODE), source=DOCS + "service/#one")
def test_one():
    """One works.

    Because all else
    stands on it.
    """

@check("demo.two", source="https://example.com", needs=MULTI_NODE)
def test_two():
    """Two works."""

@check("other.three", level=EXT, source=DOCS)
def test_three():
    """Three works."""
'''
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "suites").mkdir()
    (tmp_path / "manifests" / "services").mkdir(parents=True)
    (tmp_path / "suites" / "test_demo.py").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return tmp_path


def kubereach(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubereach", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["explain", "demo.one"], ["run", "--help"]])
def test_a_reader_that_has_seen_enough_is_no_error(project: Path, words: list[str]) -> None:
    (project / "suites" / "test_more.py").write_text(
        "".join(SUITE.replace("demo.", f"demo.n{n}-").replace("other.", f"other.n{n}-") for n in range(200))
    )
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "kubereach", *words]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.usefixtures("project")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_text_that_a_full_disk_does_not_take_is_an_error() -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "kubereach", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 3
    assert b"kubereach: cannot write to standard output: [Errno 28]" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.usefixtures("project")
def test_a_defect_of_ours_never_says_that_a_cluster_does_not_conform(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(*_: object) -> None:
        raise KeyError("podIP")

    monkeypatch.setattr("kubereach.run.options.validated", wrong)
    assert main.main(["run"]) == 3
    assert "unexpected error, please report it: KeyError: 'podIP'" in capsys.readouterr().err


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("words", [["--", "--kubereach-level=ext"], ["--", "--kubereach-keep"]])
def test_a_run_takes_its_options_by_their_short_names(words: list[str]) -> None:
    done = kubereach("run", "--target=existing", "--kubeconfig=/not/there", *words)
    option = words[1].partition("=")[0]
    assert done.returncode == 2
    assert f"`kubereach run` does not take pytest's option {option}" in done.stdout
    assert f"Use {option.replace('kubereach-', '')} before any --." in done.stdout


def test_the_help_of_a_run_lists_the_short_names() -> None:
    text = kubereach("run", "--help").stdout
    assert "--deadline SECONDS" in text and "--cluster-name NAME" in text and "--kubereach" not in text


@pytest.mark.usefixtures("project")
def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "demo.one     core  One works.",
        "demo.two     core  Two works.",
        "",
        "other.three  ext   Three works.",
        "",
        "3 checks. `kubereach explain ID` shows why a check matters and its source.",
    ]
    assert main.main(["list", "--json", "demo.o*"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["needs"] == ["loadbalancer", "multi-node"]
    assert listed["source"] == "https://kubernetes.io/docs/concepts/services-networking/service/#one"


@pytest.mark.usefixtures("project")
def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["explain", "demo.one"]) == 0
    out = capsys.readouterr().out
    for line in (
        "demo.one  (core: required of every cluster)",
        "One works.",
        "Because all else stands on it.",
    ):
        assert line in out.splitlines()
    assert "needs   multi-node: the cluster has two nodes or more" in out
    assert main.main(["explain", "demo.on"]) == 2
    assert "Did you mean demo.one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run", "--checks=x"], "unrecognized arguments: --checks=x"),
        (["run", "--target=moon"], "--target moon: unknown target"),
        (["run", "--set=a"], "--set a: not of the form NAME=VALUE"),
        (["run", "--", "-n4"], "pytest-xdist cannot distribute checks"),
        (["list", "--", "-x"], "kubereach list takes no arguments after --"),
    ],
)
@pytest.mark.usefixtures("project")
def test_wrong_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(arguments) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("kubereach: ") and said in errors
    assert len(errors.splitlines()) == 2, "one line and the remedy"


@pytest.mark.usefixtures("project")
def test_help_teaches() -> None:
    done = kubereach("--help")
    assert done.returncode == 0 and "examples:" in done.stdout and "exit codes:" in done.stdout
    done = kubereach("run", "--help")
    for name, _, what in Settings().described():
        assert name in done.stdout and what in done.stdout
    assert kubereach("--version").stdout.startswith("kubereach 0.")


@pytest.mark.usefixtures("project")
def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from kubereach.cli.main import main; main(['list']); sys.exit(repr(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "kubereach.run.catalogue" in done.stderr
    for heavy in ("pytest", "kubernetes", "rich", "httpx", "jinja2", "dns", "yaml", "kubereach_lab"):
        assert f"'{heavy}'" not in done.stderr, heavy


def test_a_run_through_the_command_line(project: Path) -> None:
    kubeconfig = project / "no-such-kubeconfig"
    done = kubereach("run", "demo.*", f"--kubeconfig={kubeconfig}", "--report-dir=out")
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"kubereach: no kubeconfig at {kubeconfig} (--kubeconfig)" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    report = json.loads((project / "out" / "report.json").read_text())
    assert (report["verdict"], report["target"]["name"]) == ("not measured", "existing")
    done = kubereach("run", "demo.oen")
    assert done.returncode == 2
    assert "no check matches demo.oen" in done.stdout and "Did you mean demo.one" in done.stdout
    assert kubereach("run", "no/such/path.py").returncode == 2


def test_declarations_are_read_as_they_are_imported() -> None:
    """Reading the source and importing it must give the same declarations."""
    code = (
        "import importlib.util, sys\n"
        "from pathlib import Path\n"
        "from kubereach.model.check import declaration_of\n"
        "for file in sorted(Path(sys.argv[1]).rglob('test_*.py')):\n"
        "    spec = importlib.util.spec_from_file_location(file.stem, file)\n"
        "    module = importlib.util.module_from_spec(spec)\n"
        "    spec.loader.exec_module(module)\n"
        "    for value in vars(module).values():\n"
        "        if (c := declaration_of(value)):\n"
        "            print(repr((c.id, c.level, c.needs, c.source, c.requirement, c.why)))\n"
    )
    suites = suites_folder(REPOSITORY)
    done = subprocess.run(
        [sys.executable, "-c", code, str(suites)], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    read = [repr((c.id, c.level, c.needs, c.source, c.requirement, c.why)) for c in read_checks(suites)]
    assert sorted(read) == sorted(done.stdout.splitlines())


DECLARES = "from kubereach import DOCS, check\n"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            '@check(f"demo.{1}", source=DOCS)\ndef test_x():\n    """X."""',
            "without running the file",
        ),
        (DECLARES + '@check("demo.x", source=DOCS)\ndef test_x():\n    pass', "has no docstring"),
        ("def test_x(:", "test_bad.py:1:"),
    ],
)
def test_what_cannot_be_read_is_wrong_usage(project: Path, code: str, said: str) -> None:
    (project / "suites" / "test_bad.py").write_text(code)
    with pytest.raises(UsageError, match=r"test_bad\.py") as raised:
        read_checks(project / "suites")
    assert said in str(raised.value)


def test_requirements_are_one_sentence() -> None:
    checks: list[Check] = read_checks(suites_folder(REPOSITORY))
    for check in checks:
        assert check.requirement.endswith("."), check.id
