"""What a run asks the API server for is in the table of rights, which is what `kubereach rbac` grants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubereach.model.settings import Settings
from kubereach.preflight.rights import Right, needed
from tests.conformance.conftest import ROOT, WHOLE, Runner
from tests.conformance.test_existing import in_lab

_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete", "EXEC": "create"}
#: asked of every cluster, and done without where it is refused: which service proxy is on a node
_SPARED = {("list", "", "pods", "", "")}
_REVIEWS = "selfsubjectaccessreviews"


def used(file: Path) -> set[tuple[str, str, str, str, str]]:
    """(verb, group, resource, namespace, name) of every request on a resource; names only of what is got."""
    found = set()
    for line in file.read_text().splitlines():
        method, path, watch = json.loads(line)
        first, *parts = path.strip("/").split("/")
        if first == "version" or parts[-1] == _REVIEWS:
            continue
        group, rest = ("", parts[1:]) if first == "api" else (parts[0], parts[2:])
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        name = rest[1] if len(rest) > 1 else ""
        resource = "/".join([rest[0], *rest[2:]])
        verb = _VERBS.get(method) or ("watch" if watch else "get" if name else "list")
        found.add((verb, group, resource, namespace, name if verb == "get" else ""))
    return found


def grants(right: Right, verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
    return (
        verb in right.verbs
        and (right.group, right.resource) == (group, resource)
        and right.namespace in ("", namespace)
        and (not right.names or name in right.names)
    )


@pytest.mark.parametrize("namespaces", [None, "one,two,three"])
def test_a_run_does_what_the_table_says(namespaces: str | None, tmp_path: Path, run_suite: Runner) -> None:
    recording, file = ROOT / "tests" / "conformance" / "recording.py", tmp_path / "requests"
    options = [f"--namespace={namespaces}"] if namespaces else ["--self-load-balancer"]
    options += [] if WHOLE else ["--quick"]
    run = f'{{python}} {recording} {file} run --kubeconfig "$KUBECONFIG" --report-dir {{report}}'
    script = "for name in one two three; do kubectl create namespace $name; done\n"
    result = in_lab(run_suite, script + " ".join([run, *options]), "--nodes", "2")
    assert result.code == 0, result.output
    given = tuple(namespaces.split(",")) if namespaces else ()
    rights = needed(Settings(namespaces=given, self_load_balancer=not namespaces))
    asked = used(file)
    assert len(asked) > 20
    assert {one for one in asked - _SPARED if not any(grants(right, *one) for right in rights)} == set()
    if WHOLE and not namespaces:
        required = {(verb, r.group, r.resource) for r in rights if not r.optional for verb in r.verbs}
        # websockets are opened by GET, which servers before 1.35 ask the right to `get` for
        unused = required - {one[:3] for one in asked} - {("get", "", "pods/exec")}
        assert unused == set()
