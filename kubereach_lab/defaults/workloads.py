"""Deployments, ReplicaSets, StatefulSets, DaemonSets: defaults and what is refused.

Sources: pkg/apis/apps/v1/defaults.go and pkg/apis/apps/validation of Kubernetes.
"""

from __future__ import annotations

from kubereach_lab import selectors
from kubereach_lab.defaults import names, podspec
from kubereach_lab.defaults.strategy import Strategy
from kubereach_lab.status import Cause, Object, forbidden_field, invalid_value, required, unsupported_value


class WorkloadStrategy(Strategy):
    """What the four have in common: a selector and a template that must agree."""

    #: whether the kind has spec.replicas
    replicas = True

    def prepare(self, new: Object, old: Object | None) -> None:
        super().prepare(new, old)
        spec = new.setdefault("spec", {})
        if self.replicas:
            spec.setdefault("replicas", 1)
        template = spec.setdefault("template", {})
        template.setdefault("metadata", {})
        podspec.set_defaults(template.setdefault("spec", {}))
        self.spec_defaults(spec)

    def spec_defaults(self, spec: Object) -> None:
        """Defaults of the kind's own fields."""

    def validate(self, new: Object, old: Object | None) -> list[Cause]:
        spec = new["spec"]
        causes = self.check_update(spec, old["spec"]) if old is not None else []
        if spec.get("replicas", 0) < 0:
            causes.append(
                invalid_value("spec.replicas", spec["replicas"], "must be greater than or equal to 0")
            )
        causes += self._check_selector(spec)
        causes += podspec.validate(spec["template"]["spec"], "spec.template.spec")
        policy = spec["template"]["spec"]["restartPolicy"]
        if policy in ("Never", "OnFailure"):
            causes.append(unsupported_value("spec.template.spec.restartPolicy", policy, ("Always",)))
        return causes + self.check_spec(spec)

    def check_spec(self, spec: Object) -> list[Cause]:
        return []

    def check_update(self, spec: Object, old: Object) -> list[Cause]:
        if spec.get("selector") != old.get("selector"):
            return [invalid_value("spec.selector", spec.get("selector") or {}, "field is immutable")]
        return []

    def _check_selector(self, spec: Object) -> list[Cause]:
        causes: list[Cause] = []
        selector = spec.get("selector")
        if selector is None:
            causes.append(required("spec.selector"))
        else:
            causes += names.check_labels(selector.get("matchLabels") or {}, "spec.selector.matchLabels")
            if not selector.get("matchLabels") and not selector.get("matchExpressions"):
                kind = self.resource.kind.lower()
                causes.append(invalid_value("spec.selector", {}, f"empty selector is invalid for {kind}"))
                return causes
        labels = spec["template"]["metadata"].get("labels") or {}
        if not selector or not selectors.matches_selector(selector, labels):
            text = "`selector` does not match template `labels`"
            causes.append(invalid_value("spec.template.metadata.labels", labels, text))
        return causes


def _rolling(spec: Object, key: str, defaults: Object) -> None:
    strategy = spec.setdefault(key, {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        for name, value in defaults.items():
            rolling.setdefault(name, value)


class DeploymentStrategy(WorkloadStrategy):
    def spec_defaults(self, spec: Object) -> None:
        _rolling(spec, "strategy", {"maxUnavailable": "25%", "maxSurge": "25%"})
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        if spec.get("paused") is False:
            del spec["paused"]

    def check_spec(self, spec: Object) -> list[Cause]:
        strategy = spec["strategy"]
        causes: list[Cause] = []
        if strategy["type"] == "Recreate" and "rollingUpdate" in strategy:
            text = "may not be specified when strategy `type` is 'Recreate'"
            causes.append(forbidden_field("spec.strategy.rollingUpdate", text))
        rolling = strategy.get("rollingUpdate") or {}
        if (
            strategy["type"] == "RollingUpdate"
            and _zero(rolling["maxUnavailable"])
            and _zero(rolling["maxSurge"])
        ):
            text = "may not be 0 when `maxSurge` is 0"
            causes.append(
                invalid_value("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"], text)
            )
        return causes


def _zero(amount: object) -> bool:
    return amount in (0, "0", "0%")


class ReplicaSetStrategy(WorkloadStrategy):
    def initial_status(self, new: Object) -> None:
        new["status"] = {"replicas": 0}


class StatefulSetStrategy(WorkloadStrategy):
    def initial_status(self, new: Object) -> None:
        new["status"] = {"replicas": 0, "availableReplicas": 0}

    def spec_defaults(self, spec: Object) -> None:
        spec.setdefault("podManagementPolicy", "OrderedReady")
        _rolling(spec, "updateStrategy", {"partition": 0})
        spec.setdefault("revisionHistoryLimit", 10)
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        retention.setdefault("whenDeleted", "Retain")
        retention.setdefault("whenScaled", "Retain")

    def check_update(self, spec: Object, old: Object) -> list[Cause]:
        changeable = (
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
        )
        if {k: v for k, v in spec.items() if k not in changeable} == {
            k: v for k, v in old.items() if k not in changeable
        }:
            return []
        listed = ", ".join(f"'{key}'" for key in changeable[:-1])
        text = (
            f"updates to statefulset spec for fields other than {listed} and '{changeable[-1]}' are forbidden"
        )
        return [forbidden_field("spec", text)]


class DaemonSetStrategy(WorkloadStrategy):
    replicas = False

    def initial_status(self, new: Object) -> None:
        new["status"] = {
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 0,
            "numberReady": 0,
        }

    def prepare(self, new: Object, old: Object | None) -> None:
        super().prepare(new, old)
        annotations = new["metadata"].setdefault("annotations", {})
        key = "deprecated.daemonset.template.generation"
        if old is None:
            annotations[key] = "1"
            return
        before = int(old["metadata"].get("annotations", {}).get(key, "1"))
        changed = new["spec"]["template"] != old["spec"]["template"]
        annotations[key] = str(before + 1 if changed else before)

    def spec_defaults(self, spec: Object) -> None:
        _rolling(spec, "updateStrategy", {"maxUnavailable": 1, "maxSurge": 0})
        spec.setdefault("revisionHistoryLimit", 10)


STRATEGIES: dict[str, type[Strategy]] = {
    "deployments": DeploymentStrategy,
    "replicasets": ReplicaSetStrategy,
    "replicationcontrollers": Strategy,
    "statefulsets": StatefulSetStrategy,
    "daemonsets": DaemonSetStrategy,
}
