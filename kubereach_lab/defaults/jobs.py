"""Jobs: defaults, the labels by which they know their pods, what is refused.

Sources: pkg/apis/batch/v1/defaults.go, pkg/registry/batch/job/strategy.go and pkg/apis/batch/validation of Kubernetes.
"""

from __future__ import annotations

from kubereach_lab.defaults import podspec
from kubereach_lab.defaults.strategy import Strategy
from kubereach_lab.status import Cause, Object, invalid_value, required, unsupported_value

_PREFIX = "batch.kubernetes.io/"
_NUMBERS = ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
_FIXED = ("completions", "selector", "template", "completionMode")


class JobStrategy(Strategy):
    """Jobs of interchangeable pods; those with an index for each (completionMode Indexed) are refused."""

    # as batch/v1 has it from of old
    propagation = "Orphan"

    def prepare(self, new: Object, old: Object | None) -> None:
        super().prepare(new, old)
        spec = new.setdefault("spec", {})
        if "completions" not in spec and "parallelism" not in spec:
            spec["completions"] = 1
        defaults = {
            "parallelism": 1,
            "backoffLimit": 6,
            "manualSelector": False,
            "completionMode": "NonIndexed",
            "suspend": False,
            "podReplacementPolicy": "TerminatingOrFailed",
        }
        for key, value in defaults.items():
            spec.setdefault(key, value)
        template = spec.setdefault("template", {})
        podspec.set_defaults(template.setdefault("spec", {}))
        metadata = template.setdefault("metadata", {})
        if old is None and not spec["manualSelector"]:
            uid, name = new["metadata"]["uid"], new["metadata"].get("name", "")
            own = {f"{_PREFIX}controller-uid": uid, f"{_PREFIX}job-name": name}
            labels = {**own, "controller-uid": uid, "job-name": name}
            metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
            spec["selector"] = {"matchLabels": {f"{_PREFIX}controller-uid": uid}}
        if old is None:
            own_labels = new["metadata"].get("labels") or {}
            new["metadata"]["labels"] = own_labels or dict(metadata.get("labels") or {})

    def validate(self, new: Object, old: Object | None) -> list[Cause]:
        spec = new["spec"]
        causes = [
            invalid_value(f"spec.{key}", spec[key], "must be greater than or equal to 0")
            for key in _NUMBERS
            if spec.get(key, 0) < 0
        ]
        if not spec.get("selector"):
            causes.append(required("spec.selector"))
        if spec["completionMode"] != "NonIndexed":
            causes.append(unsupported_value("spec.completionMode", spec["completionMode"], ("NonIndexed",)))
        policy = spec["template"]["spec"]["restartPolicy"]
        if policy not in ("OnFailure", "Never"):
            causes.append(required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"'))
        causes += podspec.validate(spec["template"]["spec"], "spec.template.spec")
        if old is not None:
            for key in _FIXED:
                if spec.get(key) != old["spec"].get(key):
                    causes.append(invalid_value(f"spec.{key}", spec.get(key), "field is immutable"))
        return causes


STRATEGIES: dict[str, type[Strategy]] = {"jobs": JobStrategy}
