"""PodDisruptionBudgets: how many pods may be evicted now.

Source: https://kubernetes.io/docs/tasks/run-application/configure-pdb/
"""

from __future__ import annotations

from collections.abc import Iterable

from kubereach_lab.controllers.base import Controller
from kubereach_lab.controllers.meta import Key, Object, being_deleted, name_of, scaled, written_condition
from kubereach_lab.controllers.pods import ready
from kubereach_lab.selectors import matches_selector


class DisruptionController(Controller):
    """Keeps the status of budgets, by which evictions are allowed or refused."""

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del verb
        if resource == "poddisruptionbudgets":
            yield name_of(new)
        elif resource == "pods":
            for budget in self.registry.list("poddisruptionbudgets", new["metadata"]["namespace"]):
                if any(_covers(budget, pod) for pod in (new, old) if pod is not None):
                    yield name_of(budget)

    def reconcile(self, namespace: str, name: str) -> None:
        budget = self.registry.find("poddisruptionbudgets", namespace, name)
        if budget is None:
            return
        pods = self.registry.list("pods", namespace, where=lambda pod: _covers(budget, pod))
        healthy = sum(ready(pod) and not being_deleted(pod) for pod in pods)
        expected, desired = _needed(budget["spec"], len(pods))
        allowed = max(healthy - desired, 0) if expected else 0
        words = ("SufficientPods", "True") if allowed else ("InsufficientPods", "False")
        status = {
            "observedGeneration": budget["metadata"]["generation"],
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "conditions": [written_condition(budget, "DisruptionAllowed", words[1], words[0], "")],
        }
        self.write_status("poddisruptionbudgets", budget, status)


def _covers(budget: Object, pod: Object) -> bool:
    selector = budget["spec"].get("selector")
    finished = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return (
        not finished
        and selector is not None
        and matches_selector(selector, pod["metadata"].get("labels") or {})
    )


def _needed(spec: Object, count: int) -> tuple[int, int]:
    """(pods there should be, how many of them must stay healthy); percentages are of the pods that there are."""
    if "maxUnavailable" in spec:
        return count, max(count - scaled(spec["maxUnavailable"], count, up=True), 0)
    return count, scaled(spec.get("minAvailable", 1), count, up=True)
