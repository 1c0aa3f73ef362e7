"""What the cluster would refuse is told before anything is created, in one line that names it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from kubereach.cli.main import main
from kubereach.cli.rbac import objects
from kubereach.kube.client import ApiError
from kubereach.model.errors import CannotMeasure, UsageError
from kubereach.model.settings import Settings
from kubereach.preflight import pull_secret
from kubereach.preflight.admission import admit, pod_of
from kubereach.preflight.review import missing, review
from kubereach.preflight.rights import Right, needed


class Reviews:
    """An API that lets us do what `allowed` says of (verb, group, resource, namespace)."""

    threads = staticmethod(ThreadPoolExecutor)

    def __init__(self, allowed):
        self.allowed = allowed
        self.asked: list[tuple[str, str, str, str]] = []

    def review(self, spec):
        a = spec["resourceAttributes"]
        resource = a["resource"] + (f"/{a['subresource']}" if "subresource" in a else "")
        one = (a["verb"], a["group"], resource, a.get("namespace", ""))
        self.asked.append(one)
        return {"allowed": self.allowed(*one)}


def granted(rights: Iterable[Right]) -> set[tuple[str, str, str, str]]:
    return {(verb, r.group, r.resource, r.namespace) for r in rights for verb in r.verbs}


def test_who_may_do_everything_is_asked_once() -> None:
    api = Reviews(lambda *_: True)
    review(api, needed(Settings()))
    assert api.asked == [("*", "*", "*", "")]


def test_what_the_printed_role_grants_is_enough_and_nothing_less() -> None:
    rights = needed(Settings())
    whole = granted(rights)
    review(Reviews(lambda *one: one in whole), rights)
    required = granted([right for right in rights if not right.optional])
    for lacking in sorted(required):
        with pytest.raises(CannotMeasure, match="missing permissions") as error:
            review(Reviews(lambda *one, lacking=lacking: one in whole and one != lacking), rights)
        verb, _, resource, _ = lacking
        assert f"{verb} {resource}" in error.value.message
        assert "\n" not in error.value.message
        assert "kubereach rbac [--user NAME] | kubectl apply -f -" in error.value.remedy


def test_all_that_is_missing_is_named_in_one_line() -> None:
    with pytest.raises(CannotMeasure) as error:
        review(Reviews(lambda verb, *_: verb in ("list", "watch")), needed(Settings()))
    for part in ("create and patch and delete pods", "create and get pods/exec", "daemonsets.apps"):
        assert part in error.value.message


def test_what_is_optional_keeps_nobody_from_a_run() -> None:
    required = granted([right for right in needed(Settings()) if not right.optional])
    review(Reviews(lambda *one: one in required), needed(Settings()))


def test_a_server_that_answers_no_reviews_is_no_refusal() -> None:
    class Silent:
        threads = staticmethod(ThreadPoolExecutor)

        def review(self, spec):
            raise ApiError(404, "NotFound", "the server could not find the requested resource", "POST")

    assert missing(Silent(), needed(Settings())) == []


def test_given_namespaces_need_no_rights_on_namespaces() -> None:
    rights = needed(Settings(namespaces=("one", "two")))
    assert not [right for right in rights if right.resource == "namespaces"]
    everywhere = {right.resource for right in rights if not right.namespace}
    assert everywhere == {"nodes", "servicecidrs"}
    assert {r.namespace for r in rights if r.resource == "pods/exec"} == {"one", "two"}


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ([], Settings(self_load_balancer=True)),
        (["--namespace", "one,two"], Settings(namespaces=("one", "two"), self_load_balancer=True)),
        (
            ["--image-pull-secret", "team/pull"],
            Settings(image_pull_secret="team/pull", self_load_balancer=True),
        ),
    ],
)
def test_rbac_prints_the_same_table(arguments, settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rbac", *arguments]) == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    printed = {
        (verb, rule["apiGroups"][0], resource, document["metadata"].get("namespace", ""))
        for document in documents
        for rule in document.get("rules", ())
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert printed == granted(needed(settings))
    roles = [(d["kind"], d["metadata"].get("namespace")) for d in documents if "rules" in d]
    bound = [(d["roleRef"]["kind"], d["metadata"].get("namespace")) for d in documents if "roleRef" in d]
    assert roles == bound
    assert documents[0]["kind"] == "ServiceAccount"
    account = {"kind": "ServiceAccount", "name": "kubereach", "namespace": "default"}
    assert all(d["subjects"] == [account] for d in documents if "roleRef" in d)


def test_rbac_for_a_user() -> None:
    found = objects(needed(Settings()), "default", "kubereach", "jane")
    assert not [obj for obj in found if obj["kind"] == "ServiceAccount"]
    subjects = [obj["subjects"][0]["name"] for obj in found if "roleRef" in obj]
    assert set(subjects) == {"jane"}


def test_a_malformed_account_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rbac", "--account", "kubereach"]) == 2
    assert "NAMESPACE/NAME" in capsys.readouterr().err


def test_images_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["images"]) == 0
    assert capsys.readouterr().out == "python:3.13-alpine\n"
    assert main(["images", "--json", "--image", "mirror.example/python:3"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["image"] == "mirror.example/python:3"
    assert "DaemonSet/backend" in one["pods"]


# Admission

#: as an API server of Kubernetes 1.34 says it
_SECURITY = (
    'pods "x" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
)


class Admission:
    """Answers dry runs of pods by `refuse(pod)`, an error or None; `quotas` are in every namespace."""

    threads = staticmethod(ThreadPoolExecutor)

    def __init__(self, refuse=lambda _: None, quotas=()):
        self.refuse, self.quotas = refuse, quotas
        self.tried: list[dict] = []

    def create(self, obj, dry_run=False):
        assert dry_run and obj["kind"] == "Pod"
        self.tried.append(obj)
        if error := self.refuse(obj):
            raise error
        return obj

    def find(self, path, **_):
        assert path.endswith("/resourcequotas")
        return {"items": list(self.quotas)}


def workload(name: str, kind: str = "DaemonSet", **spec) -> dict:
    template = {
        "metadata": {"labels": {"app": name, "kubereach.io/run": "x"}},
        "spec": {"containers": [], **spec},
    }
    return {"kind": kind, "metadata": {"name": name, "namespace": "one"}, "spec": {"template": template}}


def refusing(status: int, message: str):
    return lambda _: ApiError(status, "Forbidden", message, "POST /api/v1/namespaces/one/pods")


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest": seccompProfile', "restricted"),
        (
            'pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2',
            "kubectl describe resourcequota -n one",
        ),
        (
            'pods "x" is forbidden: failed quota: small: must specify limits.cpu for: peer',
            "a LimitRange in one with a `default`",
        ),
        (
            'pods "x" is forbidden: minimum memory usage per Container is 64Mi, but request is 24Mi',
            "kubectl describe limitrange -n one",
        ),
        (
            'pods "x" is forbidden: error looking up service account one/default: serviceaccount "default" not found',
            "kube-controller-manager",
        ),
        ('admission webhook "validate.kyverno.svc-fail" denied the request', "admission policy"),
    ],
)
def test_refusals_are_told_in_the_servers_words(message: str, remedy: str) -> None:
    with pytest.raises(CannotMeasure) as error:
        admit(Admission(refusing(403, message)), [workload("web")], 3)
    assert error.value.message == f"the API server rejects pods like one/web: {message}"
    assert remedy in error.value.remedy


def test_host_network_that_is_refused_is_a_missing_feature() -> None:
    api = Admission(lambda p: ApiError(403, "", _SECURITY, "") if p["spec"].get("hostNetwork") else None)
    forbidden = admit(api, [workload("web"), workload("node", hostNetwork=True)], 3)
    assert list(forbidden) == [("one", "node")]
    assert _SECURITY in forbidden[("one", "node")]


def test_a_quota_says_nothing_of_the_host_network() -> None:
    full = 'pods "x" is forbidden: exceeded quota: small'
    api = Admission(lambda p: ApiError(403, "", full, "") if p["spec"].get("hostNetwork") else None)
    with pytest.raises(CannotMeasure, match="exceeded quota: small"):
        admit(api, [workload("web"), workload("node", hostNetwork=True)], 3)


def test_a_namespace_that_is_not_there_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match='--namespace one: namespaces "one" not found'):
        admit(Admission(refusing(404, 'namespaces "one" not found')), [workload("web")], 3)


def test_what_is_tried_is_our_pod_and_nobody_selects_it() -> None:
    api = Admission()
    admit(api, [workload("web", serviceAccountName="kubereach", hostNetwork=True)], 3)
    (pod,) = api.tried
    assert pod["spec"]["hostNetwork"] and "serviceAccountName" not in pod["spec"]
    assert list(pod["metadata"]["labels"]) == ["kubereach.io/run"]
    assert pod_of({"kind": "Service", "metadata": {"name": "x"}, "spec": {}}) is None


def test_accounts_that_exist_are_those_that_are_tried() -> None:
    # the one of every namespace comes from a controller, which may be late
    api = Admission()
    admit(api, [workload("web", serviceAccountName="kubereach")], 3, accounts=True)
    assert api.tried[0]["spec"]["serviceAccountName"] == "kubereach"


def quota(hard: str, used: str, resource: str = "pods") -> dict:
    return {"metadata": {"name": "small"}, "status": {"hard": {resource: hard}, "used": {resource: used}}}


@pytest.mark.parametrize("resource", ["pods", "count/pods"])
def test_a_quota_must_leave_room_for_all_pods(resource: str) -> None:
    workloads = [workload("web"), workload("db", "Deployment")]
    admit(Admission(quotas=[quota("9", "5", resource)]), workloads, 3)
    with pytest.raises(CannotMeasure, match=r"one/small allows 9 .* and 6 are used; a run needs 4"):
        admit(Admission(quotas=[quota("9", "6", resource)]), workloads, 3)


# The Secret to pull with


class Secrets:
    def __init__(self, found):
        self.found = found

    def get(self, path):
        assert path == "/api/v1/namespaces/team/secrets/pull"
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def test_the_pull_secret_is_copied_and_labelled() -> None:
    kind = "kubernetes.io/dockerconfigjson"
    found = {"type": kind, "data": {".dockerconfigjson": "e30="}, "metadata": {"name": "pull", "uid": "u"}}
    copied = pull_secret.copies(Secrets(found), ("team", "pull"), ("a", "b"), {"kubereach.io/run": "x"})
    assert [obj["metadata"]["namespace"] for obj in copied] == ["a", "b"]
    assert all(obj["data"] == found["data"] and obj["type"] == kind for obj in copied)
    assert all(obj["metadata"]["labels"] == {"kubereach.io/run": "x"} for obj in copied)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (ApiError(404, "NotFound", 'secrets "pull" not found', "GET"), 'secrets "pull" not found'),
        ({"type": "Opaque", "metadata": {}}, "has the type Opaque"),
    ],
)
def test_a_pull_secret_that_cannot_be_used_is_told(found, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        pull_secret.copies(Secrets(found), ("team", "pull"), ("a",), {})
    assert "kubectl create secret docker-registry" in error.value.remedy


def test_settings_of_pull_secret_and_namespaces() -> None:
    assert Settings(image_pull_secret="pull").pull_secret == ("default", "pull")
    assert Settings(image_pull_secret="team/pull").pull_secret == ("team", "pull")
    assert Settings().pull_secret == ("", "")
    assert Settings().overridden(["namespaces=a, b"]).namespaces == ("a", "b")
