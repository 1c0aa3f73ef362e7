"""The existing target: every mistake in a kubeconfig is one line with its remedy, before any connection."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubereach.kube.client import Api
from kubereach.model.errors import CannotMeasure, KubereachError, UsageError
from kubereach.targets.existing import ExistingTarget


def kubeconfig(folder: Path, name: str = "config", **changes: Any) -> Path:
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "prod",
        "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
    }
    content.update({key.replace("_", "-"): value for key, value in changes.items()})
    path = folder / name
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_current_context_is_the_default(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path)
    access = ExistingTarget(path, None, {}).open()
    assert (access.kubeconfig, access.context) == (path, "prod")
    assert access.description == "context prod (https://192.0.2.1:6443)"


def test_the_kubeconfig_comes_from_the_environment_or_home(tmp_path: Path) -> None:
    first, second = kubeconfig(tmp_path, "a"), kubeconfig(tmp_path, "b", current_context="other")
    assert ExistingTarget(None, None, {"KUBECONFIG": str(first)}).open().kubeconfig == first
    several = os.pathsep.join([str(tmp_path / "missing"), str(first), str(second)])
    access = ExistingTarget(None, None, {"KUBECONFIG": several}).open()
    assert (access.kubeconfig, access.context) == (None, "prod"), "the client merges several files itself"
    (tmp_path / ".kube").mkdir()
    home = kubeconfig(tmp_path / ".kube")
    assert ExistingTarget(None, None, {"HOME": str(tmp_path)}).open().kubeconfig == home


@pytest.mark.parametrize(
    ("changes", "context", "error", "message", "remedy"),
    [
        ({}, "pord", UsageError, "no context pord", "Contexts: prod."),
        (
            {"current_context": ""},
            None,
            UsageError,
            "no current context",
            "Name one with --context. Contexts: prod.",
        ),
        ({"contexts": []}, "prod", UsageError, "no context prod", "It contains no contexts."),
        ({"users": []}, None, UsageError, "names the user u, which does not exist", "Known: none."),
        (
            {"clusters": [{"name": "x"}]},
            None,
            UsageError,
            "names the cluster c, which does not exist",
            "Known: x.",
        ),
        (
            {"clusters": [{"name": "c", "cluster": {}}]},
            None,
            UsageError,
            "cluster c has no server",
            "address",
        ),
        ({"clusters": "none"}, None, UsageError, "not a kubeconfig", "clusters, users and contexts"),
        (
            {"users": [{"name": "u", "user": {"client-certificate": "u.crt"}}]},
            None,
            UsageError,
            "client-certificate u.crt does not exist",
            "Correct the path",
        ),
        (
            {
                "users": [
                    {"name": "u", "user": {"exec": {"command": "no-such-login", "installHint": "Get\nit."}}}
                ]
            },
            None,
            CannotMeasure,
            "uses the credential plugin 'no-such-login', which is not installed",
            "Get it.",
        ),
    ],
)
def test_mistakes(
    tmp_path: Path,
    changes: dict[str, Any],
    context: str | None,
    error: type[KubereachError],
    message: str,
    remedy: str,
) -> None:
    with pytest.raises(error) as raised:
        ExistingTarget(kubeconfig(tmp_path, **changes), context, {}).open()
    assert message in raised.value.message
    assert remedy in raised.value.remedy
    assert "\n" not in raised.value.message + raised.value.remedy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", ":1: not a kubeconfig: malformed YAML"),
        ("- a", "not a kubeconfig"),
        ("\x00", "malformed YAML"),
    ],
)
def test_files_that_are_no_kubeconfig(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(UsageError) as raised:
        ExistingTarget(path, None, {}).open()
    assert message in raised.value.message


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no kubeconfig at .*nowhere \(--kubeconfig\)"):
        ExistingTarget(tmp_path / "nowhere", None, {}).open()
    with pytest.raises(UsageError, match=r"\(\$KUBECONFIG\)"):
        ExistingTarget(None, None, {"KUBECONFIG": str(tmp_path / "nowhere")}).open()
    with pytest.raises(UsageError, match="default path"):
        ExistingTarget(None, None, {"HOME": str(tmp_path)}).open()
    with pytest.raises(UsageError, match="Is a directory"):
        ExistingTarget(tmp_path, None, {}).open()


IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("t")
    monkeypatch.setattr("kubereach.targets.existing.SERVICE_ACCOUNT", folder)
    return folder


def test_a_pod_has_its_service_account(tmp_path: Path, account: Path) -> None:
    access = ExistingTarget(None, None, {**IN_A_POD, "HOME": str(tmp_path)}).open()
    assert (access.kubeconfig, access.service_account, access.server) == (None, account, "10.96.0.1:443")
    assert access.description == "the cluster of this pod (https://10.96.0.1:443)"
    assert "not outside" in access.no_outside


def test_what_is_named_goes_before_the_service_account(tmp_path: Path, account: Path) -> None:
    path = kubeconfig(tmp_path)
    environment = {**IN_A_POD, "HOME": str(tmp_path)}
    assert ExistingTarget(path, None, environment).open().kubeconfig == path
    assert ExistingTarget(None, None, {**environment, "KUBECONFIG": str(path)}).open().kubeconfig == path
    (account / "token").unlink()
    with pytest.raises(UsageError, match="no kubeconfig at"):
        ExistingTarget(None, None, environment).open()


def test_an_empty_token_is_told(tmp_path: Path, account: Path) -> None:
    (account / "token").write_text("")
    access = ExistingTarget(None, None, {**IN_A_POD, "HOME": str(tmp_path)}).open()
    with pytest.raises(UsageError, match="cannot use the pod's service account: Token file exists but empty"):
        Api(access)
