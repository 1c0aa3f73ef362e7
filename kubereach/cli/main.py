"""The command line: one function for each command. What a command needs, it imports: help is instant."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import kubereach
from kubereach.model.check import FEATURES, LEVELS, Check
from kubereach.model.errors import CannotMeasure, KubereachError, UsageError
from kubereach.model.plural import plural
from kubereach.report import stdio
from kubereach.run import options
from kubereach.run.catalogue import read_checks, suggestion, suites_folder
from kubereach.targets.kind.options import SHARED, refuse_elsewhere

if TYPE_CHECKING:
    import pytest

    from kubereach.run.options import RunOptions
    from kubereach.targets.lab import LabTarget

_EXAMPLES = (
    "examples:\n"
    "  kubereach run                                every check, on the embedded lab (no "
    "cluster needed)\n"
    "  kubereach run --context prod                 every check, on the context prod of your "
    "kubeconfig\n"
    "  kubereach run --target kind --keep-cluster   every check, on a kind cluster, created "
    "if it does not exist\n"
    "  kubereach run --target kind --kind-proxy-mode nftables --dual-stack\n"
    "  kubereach run 'dns.*' nodeport.every-node    only these checks\n"
    "  kubereach run --context prod --require loadbalancer --report-dir out -- --junitxml "
    "out/junit.xml\n"
    "  kubereach explain nodeport.every-node        what a check requires, why, and its "
    "source\n"
    "  kubereach lab shell                          a shell inside a small cluster, with "
    "KUBECONFIG set\n"
    "\n"
    "exit codes: 0 conformant or partial; 1 not conformant; 2 wrong usage; 3 not measured\n"
)

_RUN_EXAMPLES = (
    "examples:\n"
    "  kubereach run --quick 'nodeport.*'\n"
    "  kubereach run --context prod --require loadbalancer\n"
    "  kubereach run --target kind --keep-cluster --kind-proxy-mode nftables\n"
    "  kubereach run --target kind --cluster-name mine --kind-config mine.yaml -- --junitxml "
    "junit.xml\n"
    "\n"
    "Arguments after -- are passed to pytest: -v (show every check), -x (stop at the first "
    "failure), --lf (run\n"
    "last failures), --junitxml=FILE, -k EXPRESSION, --collect-only.\n"
    "\n"
    "settings, with their defaults (--set NAME=VALUE):\n"
    "\n"
)


#: commands that are there for their text: if that cannot be written they have failed
_TEXTS = ("list", "explain", "rbac", "images")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Wrong usage is one line and 2, no traceback.

    What becomes of standard output and error changes nothing of what a command does, nor its exit code; but text that
    was all that a command was to give, and that a full disk did not take, is 3.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with stdio.standard_streams_last() as out:
        code = _main(words)
        out.flush()
        if words[:1] and words[0] in _TEXTS and out.failure and not stdio.reader_left(out.failure):
            _complain(f"cannot write to standard output: {out.failure}")
            return code or 3
        return code


def _main(words: list[str]) -> int:
    own, pytest_arguments = _split(words)
    try:
        namespace = _parser(own).parse_args(own)
        if pytest_arguments and namespace.command not in ("run", "lab"):
            raise UsageError(
                f"kubereach {namespace.command} takes no arguments after --", "Leave out -- and what follows."
            )
        if namespace.command == "run":
            return _run(namespace, pytest_arguments)
        if namespace.command == "list":
            return _list(namespace)
        if namespace.command == "explain":
            return _explain(namespace)
        if namespace.command == "selftest":
            return _selftest(namespace)
        if namespace.command == "clean":
            return _clean(namespace)
        if namespace.command == "rbac":
            return _rbac(namespace)
        if namespace.command == "images":
            return _images(namespace)
        return _lab(namespace)
    except KubereachError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 3
    except Exception as error:  # never 1, which would say that the cluster does not conform
        traceback.print_exc()
        _complain(f"unexpected error, please report it: {type(error).__name__}: {error}")
        return 3


class _Parser(argparse.ArgumentParser):
    """argparse, but mistakes become a `UsageError`: one line and the remedy instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"See `{self.prog} --help`.")


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """The words before and after the first ``--``. The lab keeps its own: ``kubereach lab run -- CMD``."""
    if "--" not in words or words[:1] == ["lab"]:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _parser(words: list[str]) -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="kubereach",
        description="Tests whether every way of reaching a Kubernetes Service works from everywhere it "
        "should,\n"
        "and from nowhere it should not, by sending real packets.",
        epilog=_EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kubereach {kubereach.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run checks and report whether the cluster conforms",
        description="Runs checks on a cluster. Without options the cluster is the embedded lab.",
        epilog=_RUN_EXAMPLES + _settings_table() if words[:1] == ["run"] else "",
        formatter_class=raw,
        allow_abbrev=False,
    )
    run.add_argument(
        "selection", nargs="*", metavar="CHECK|PATH", help="ids or globs of checks, or test files"
    )
    group = run.add_argument_group("options of a run")
    for option in options.OPTIONS:
        group.add_argument(f"--{option.name}", **option.arguments())

    listing = commands.add_parser("list", help="list the checks: id, level, requirement", allow_abbrev=False)
    listing.add_argument("pattern", nargs="*", metavar="CHECK", help="ids or globs, for example 'dns.*'")
    listing.add_argument("--json", action="store_true", help="print all attributes of the checks as JSON")

    explain = commands.add_parser(
        "explain", help="show what a check requires, why, and its source", allow_abbrev=False
    )
    explain.add_argument("id", metavar="CHECK")

    clean = commands.add_parser("clean", help="remove what dead runs left in a cluster", allow_abbrev=False)
    if words[:1] == ["clean"]:
        from kubereach.cli import clean as cleaning

        cleaning.add_arguments(clean)
    rbac = commands.add_parser(
        "rbac", help="print the RBAC objects that a run needs, for kubectl apply", allow_abbrev=False
    )
    if words[:1] == ["rbac"]:
        from kubereach.cli import rbac as rights

        rights.add_arguments(rbac)
    images = commands.add_parser(
        "images", help="list the container images that a run needs", allow_abbrev=False
    )
    if words[:1] == ["images"]:
        from kubereach.cli import images as needed

        needed.add_arguments(images)
    lab = commands.add_parser(
        "lab", help="run a shell or a command in the embedded cluster", allow_abbrev=False
    )
    if words[:1] == ["lab"]:
        from kubereach_lab import cli as lab_cli

        lab_cli.add_arguments(lab)
    selftest = commands.add_parser(
        "selftest", help="test that the suites catch every fault of the lab", allow_abbrev=False
    )
    if words[:1] == ["selftest"]:
        from kubereach.selftest import command

        command.add_arguments(selftest)
    return parser


def _settings_table() -> str:
    from kubereach.model.settings import Settings

    return "\n".join(
        f"  {name}={'' if value is None else value}  {what}" for name, value, what in Settings().described()
    )


def _run(namespace: argparse.Namespace, pytest_arguments: list[str]) -> int:
    """Hand over to pytest, in this process: the lab has to move the very process that runs the checks."""
    paths = [word for word in namespace.selection if "/" in word or Path(word).exists()]
    namespace.kubereach_check += [word for word in namespace.selection if word not in paths]
    chosen = options.validated(lambda dest: getattr(namespace, dest))
    if chosen.target != "kind":
        refuse_elsewhere(lambda dest: getattr(namespace, dest), SHARED, chosen.target)
    chosen.settings()  # mistakes are told before pytest says a word
    if any(word.startswith(("-n", "--numprocesses")) for word in pytest_arguments):
        raise UsageError("pytest-xdist cannot distribute checks over processes", "Leave out -n.")
    suites = suites_folder()
    target = None
    if chosen.target == "lab" and not {"--collect-only", "--co"} & set(pytest_arguments):
        from kubereach.run.open_target import lab_of

        target = lab_of(chosen)
        target.begin()  # it comes up while this process loads what it needs
    code = CannotMeasure.exit_code
    try:
        code = _pytest(chosen, paths, suites, pytest_arguments, target)
    finally:
        try:
            if target is not None:
                target.close()
        except Exception as error:
            _complain(f"closing the lab failed: {type(error).__name__}: {error}")
            code = code or CannotMeasure.exit_code
    return code


def _pytest(
    chosen: RunOptions,
    paths: list[str],
    suites: Path,
    pytest_arguments: list[str],
    target: LabTarget | None,
) -> int:
    # nothing of what is loaded now is garbage, and looking for it there again and again takes a tenth of a run
    gc.disable()
    import pytest

    # pytest cannot rewrite the assertions of a package that is running already, and has none to rewrite here
    arguments = [
        "--no-header",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
        # its options are among ours here, and loading it for nothing would take a fifth of a second
        "-p",
        "no:pytest-kind",
        # comes with httpx, loads asyncio, and no suite is asynchronous
        "-p",
        "no:anyio",
    ]
    if not any(word.startswith("-v") or word == "--verbose" for word in pytest_arguments):
        arguments.append("-q")
    if suites.parent != Path.cwd():
        # the packaged suites: no configuration of the working folder counts, and they are not written to
        reports = (chosen.report_dir or Path("reports/latest")).absolute()
        chosen = replace(chosen, report_dir=reports)
        arguments += [f"--rootdir={suites.parent}", f"--config-file={os.devnull}"]
        arguments += ["-o", f"cache_dir={reports / '.pytest_cache'}"]
    loader = _Loader(chosen, target)
    try:
        status = int(
            pytest.main([*arguments, *pytest_arguments, *(paths or [str(suites)])], plugins=[loader])
        )
    except (Exception, KeyboardInterrupt) as error:  # of a plugin, after the run or before it
        _complain(f"pytest itself failed: {type(error).__name__}: {error}")
        return loader.exit_code(CannotMeasure.exit_code)
    usage = (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED)
    return UsageError.exit_code if status in usage else loader.exit_code(status)


class _Loader:
    """Hands over options and target, and loads the plugin where it is not installed, as an installed one would be."""

    def __init__(self, chosen: RunOptions, target: LabTarget | None) -> None:
        self._options = chosen
        self._target = target
        self._config: pytest.Config | None = None

    def exit_code(self, otherwise: int) -> int:
        """The run's, whatever became of pytest after it; `otherwise` if there was no run."""
        from kubereach.run.plugin import RUN

        run = self._config.stash.get(RUN, None) if self._config else None
        return otherwise if run is None or run.exit_code is None else run.exit_code

    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_kubereach_options(self) -> RunOptions:
        return self._options

    def pytest_kubereach_target(self) -> LabTarget | None:
        return self._target

    def pytest_collection_finish(self) -> None:
        gc.freeze()
        gc.enable()

    def pytest_addoption(self, parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
        from kubereach.run.plugin import ensure_plugin

        ensure_plugin(parser, pluginmanager)


def _list(namespace: argparse.Namespace) -> int:
    from kubereach.run.catalogue import matching

    checks = read_checks(suites_folder())
    if namespace.pattern:
        ids = matching(namespace.pattern, checks)
        checks = [check for check in checks if check.id in ids]
    checks.sort(key=lambda check: (check.topic, check.file, check.id))
    if namespace.json:
        _say(json.dumps([_as_json(check) for check in checks], indent=1, ensure_ascii=False))
        return 0
    width = max((len(check.id) for check in checks), default=0)
    topic = ""
    for check in checks:
        if topic and check.topic != topic:
            _say()
        topic = check.topic
        _say(f"{check.id:{width}}  {check.level:4}  {check.requirement}")
    _say(
        f"\n{plural(len(checks), 'check')}. `kubereach explain ID` shows why a check matters and its source."
    )
    return 0


def _explain(namespace: argparse.Namespace) -> int:
    checks = {check.id: check for check in read_checks(suites_folder())}
    check = checks.get(namespace.id)
    if check is None:
        raise UsageError(f"no check has the id {namespace.id}", suggestion(namespace.id, list(checks)))
    _say(f"{check.id}  ({check.level}: {LEVELS[check.level]})\n")
    _say(textwrap.fill(check.requirement, 100))
    for paragraph in check.why.split("\n\n") if check.why else []:
        _say("\n" + textwrap.fill(" ".join(paragraph.split()), 100))
    _say()
    for need in check.needs:
        _say(f"needs   {need}: {FEATURES[need]}")
    _say(f"source  {check.source}")
    _say(f"code    {check.file}: {check.function}")
    _say(f"run     kubereach run {check.id}")
    return 0


def _lab(namespace: argparse.Namespace) -> int:
    from kubereach_lab import cli as lab_cli

    return int(lab_cli.main(namespace))


def _selftest(namespace: argparse.Namespace) -> int:
    from kubereach.selftest import command

    return int(command.main(namespace, main))


def _clean(namespace: argparse.Namespace) -> int:
    from kubereach.cli import clean

    return clean.main(namespace, _say)


def _rbac(namespace: argparse.Namespace) -> int:
    from kubereach.cli import rbac

    return rbac.main(namespace, _say)


def _images(namespace: argparse.Namespace) -> int:
    from kubereach.cli import images

    return images.main(namespace, _say, suites_folder().parent / "manifests")


def _as_json(check: Check) -> dict[str, object]:
    return {
        "id": check.id,
        "level": check.level,
        "needs": list(check.needs),
        "source": check.source,
        "requirement": check.requirement,
        "why": check.why,
        "file": str(check.file),
    }


def _complain(text: str) -> None:
    print(f"kubereach: {text}", file=sys.stderr)  # noqa: T201


def _say(text: str = "") -> None:
    print(text)  # noqa: T201
