"""Jobs and disruption budgets: pods run to completion, are counted once, given up and cleaned away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from lab_access import LabAccess, Object


def job(space: str, name: str, script: str, **spec: Any) -> Object:
    container = {"name": "c", "image": "busybox:1", "command": ["sh", "-c", script]}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": space},
        "spec": {"template": {"spec": pod}, **spec},
    }


def has(kind: str) -> Callable[[list[Object]], bool]:
    def holds(found: list[Object]) -> bool:
        conditions = found[0].get("status", {}).get("conditions", []) if found else []
        return any(c["type"] == kind and c["status"] == "True" for c in conditions)

    return holds


def ended(lab: LabAccess, space: str, name: str, kind: str) -> Object:
    """Wait for the condition that ends a Job."""
    path = f"/apis/batch/v1/namespaces/{space}/jobs"
    (found,) = lab.wait(path, has(kind), fieldSelector=f"metadata.name={name}")
    return found


def test_as_many_as_asked_for_succeed(lab: LabAccess, space: str) -> None:
    lab.create(job(space, "three", "exit 0", completions=3, parallelism=2))
    found = ended(lab, space, "three", "Complete")
    assert found["status"]["succeeded"] == 3
    assert "completionTime" in found["status"]
    pods = lab.get(f"/api/v1/namespaces/{space}/pods", labelSelector="batch.kubernetes.io/job-name=three")[
        "items"
    ]
    assert len(pods) == 3
    held = lab.wait(
        f"/api/v1/namespaces/{space}/pods",
        lambda pods: not any(pod["metadata"].get("finalizers") for pod in pods),
    )
    assert len(held) == 3


def test_finalizers_of_the_template_stay_when_a_pod_is_counted(lab: LabAccess, space: str) -> None:
    made = job(space, "held", "exit 0")
    made["spec"]["template"]["metadata"] = {"finalizers": ["example.com/held"]}
    lab.create(made)
    ended(lab, space, "held", "Complete")
    path = f"/api/v1/namespaces/{space}/pods"
    (pod,) = lab.wait(
        path, lambda pods: [p["metadata"].get("finalizers") for p in pods] == [["example.com/held"]]
    )
    lab.patch(f"{path}/{pod['metadata']['name']}", {"metadata": {"finalizers": None}})


def test_it_is_given_up_after_the_backoff_limit(lab: LabAccess, space: str) -> None:
    lab.create(job(space, "bad", "exit 1", backoffLimit=0))
    found = ended(lab, space, "bad", "Failed")
    assert found["status"]["failed"] == 1
    assert found["status"]["conditions"][-1]["reason"] == "BackoffLimitExceeded"


def test_a_deadline_ends_it(lab: LabAccess, space: str) -> None:
    lab.create(job(space, "slow", "sleep 60", activeDeadlineSeconds=1))
    found = ended(lab, space, "slow", "Failed")
    assert found["status"]["conditions"][-1]["reason"] == "DeadlineExceeded"
    lab.wait(f"/api/v1/namespaces/{space}/pods", lambda pods: not pods)


def test_a_deadline_ends_what_has_never_run(lab: LabAccess, space: str) -> None:
    """Its pod waits for a ConfigMap that nobody makes; it is held until it is told to have ended."""
    stuck = job(space, "stuck", "sleep 60", activeDeadlineSeconds=1)
    pod = stuck["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "v", "configMap": {"name": "nobody-makes-it"}}]
    pod["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    lab.create(stuck)
    assert ended(lab, space, "stuck", "Failed")["status"]["conditions"][-1]["reason"] == "DeadlineExceeded"
    lab.wait(f"/api/v1/namespaces/{space}/pods", lambda pods: not pods)


def test_it_goes_with_its_pods_when_its_time_is_over(lab: LabAccess, space: str) -> None:
    lab.create(job(space, "brief", "exit 0", ttlSecondsAfterFinished=0))
    lab.wait(f"/apis/batch/v1/namespaces/{space}/jobs", lambda jobs: not jobs)
    lab.wait(f"/api/v1/namespaces/{space}/pods", lambda pods: not pods)


def test_a_suspended_one_has_no_pods_until_it_is_resumed(lab: LabAccess, space: str) -> None:
    lab.create(job(space, "later", "exit 0", suspend=True))
    path = f"/apis/batch/v1/namespaces/{space}/jobs"
    lab.wait(path, has("Suspended"))
    assert lab.get(f"/api/v1/namespaces/{space}/pods")["items"] == []
    lab.patch(f"{path}/later", {"spec": {"suspend": False}})
    ended(lab, space, "later", "Complete")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"completionMode": "Indexed", "completions": 1}, "spec.completionMode"),
        ({"backoffLimit": -1}, "spec.backoffLimit"),
    ],
)
def test_what_is_refused(lab: LabAccess, space: str, spec: Object, field: str) -> None:
    with pytest.raises(httpx.HTTPStatusError) as refused:
        lab.create(job(space, "no", "exit 0", **spec))
    assert refused.value.response.status_code == 422
    assert field in refused.value.response.text


def test_a_budget_allows_so_many_evictions(lab: LabAccess, space: str) -> None:
    container = {"name": "c", "image": "busybox:1", "command": ["sleep", "1000"]}
    for name in ("a", "b"):
        lab.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": space, "labels": {"app": "w"}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            }
        )
    lab.ready_pods(space, 2)
    path = f"/apis/policy/v1/namespaces/{space}/poddisruptionbudgets"
    lab.create(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "w", "namespace": space},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "w"}}},
        }
    )
    lab.wait(path, lambda found: found[0]["status"]["disruptionsAllowed"] == 1)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}}
    lab.request("POST", f"/api/v1/namespaces/{space}/pods/a/eviction", eviction)
    lab.patch(f"{path}/w", {"spec": {"maxUnavailable": 0}})
    lab.wait(path, lambda found: found[0]["status"]["disruptionsAllowed"] == 0)
    with pytest.raises(httpx.HTTPStatusError) as refused:
        lab.request(
            "POST", f"/api/v1/namespaces/{space}/pods/b/eviction", eviction | {"metadata": {"name": "b"}}
        )
    assert refused.value.response.status_code == 429
