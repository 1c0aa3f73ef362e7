"""Pods: defaults, the ServiceAccount's token volume, the status of a new pod, what may change later.

Sources: pkg/registry/core/pod/strategy.go, the admission plugins ServiceAccount, Priority and
DefaultTolerationSeconds, and ValidatePodUpdate of Kubernetes.
"""

from __future__ import annotations

import random

from kubereach_lab import admission, mistakes, versions
from kubereach_lab.defaults import podspec
from kubereach_lab.defaults.strategy import Strategy
from kubereach_lab.status import Cause, Object, forbidden, forbidden_field, quoted
from kubereach_lab.store import Find, copy_object

#: the characters of generated names: no vowels, so that no word comes out
NAME_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"
TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_UNREACHABLE_SECONDS = 300
PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


def random_suffix(length: int = 5) -> str:
    return "".join(random.choices(NAME_CHARACTERS, k=length))


def _token_volume(name: str) -> Object:
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {
                    "configMap": {
                        "name": "kube-root-ca.crt",
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    }
                },
                {
                    "downwardAPI": {
                        "items": [
                            {
                                "path": "namespace",
                                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                            }
                        ]
                    }
                },
            ],
            "defaultMode": 420,
        },
    }


def _add(spec: Object) -> None:
    """What admission adds to a new pod: account, token volume, tolerations, priority."""
    account = spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = account
    mounted = [
        container
        for _, container in podspec.containers(spec)
        if not any(mount.get("mountPath") == TOKEN_MOUNT for mount in container.get("volumeMounts") or ())
    ]
    if spec.get("automountServiceAccountToken") is not False and mounted:
        name = f"kube-api-access-{random_suffix()}"
        spec.setdefault("volumes", []).append(_token_volume(name))
        for container in mounted:
            mount = {"name": name, "readOnly": True, "mountPath": TOKEN_MOUNT}
            container.setdefault("volumeMounts", []).append(mount)
    tolerations = spec.setdefault("tolerations", [])
    for trouble in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{trouble}"
        if not any(
            t.get("key", key) == key and t.get("effect", "NoExecute") == "NoExecute" for t in tolerations
        ):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _UNREACHABLE_SECONDS,
                }
            )
    spec["priority"] = PRIORITIES.get(spec.get("priorityClassName", ""), 0)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


class PodStrategy(Strategy):
    """Pods. Those that run get time to end, and are removed by whoever stops them."""

    graceful = True

    @property
    def counts_generations(self) -> bool:
        return super().counts_generations and self.config.minor >= versions.POD_GENERATION

    def initial_status(self, new: Object) -> None:
        new["status"] = {"phase": "Pending", "qosClass": podspec.qos_class(new["spec"])}

    def prepare(self, new: Object, old: Object | None) -> None:
        if old is None:
            mistakes.in_pod(new, self.config.faults)
        spec = new.setdefault("spec", {})
        podspec.set_defaults(spec)
        if old is None:
            _add(spec)
        super().prepare(new, old)

    def prepare_status(self, new: Object, old: Object) -> None:
        super().prepare_status(new, old)
        for condition in new["status"].get("conditions") or ():
            # times that were not given are written as null
            condition.setdefault("lastProbeTime", None)
            condition.setdefault("lastTransitionTime", None)

    def validate(self, new: Object, old: Object | None) -> list[Cause]:
        if old is None:
            return podspec.validate(new["spec"], "spec")
        return _check_update(new["spec"], old["spec"])

    def admit(self, new: Object, find: Find) -> None:
        spec, metadata = new["spec"], new["metadata"]
        account, namespace = spec["serviceAccountName"], metadata["namespace"]
        why = ""
        # the default account of a namespace is made by a controller, which may come a moment later
        if account != "default" and find("serviceaccounts", namespace, account) is None:
            why = f"error looking up service account {namespace}/{account}: serviceaccount {quoted(account)} "
            why += "not found"
        priority = spec.get("priorityClassName")
        if priority and priority not in PRIORITIES:
            why = f"no PriorityClass with name {priority} was found"
        level = (find("namespaces", None, namespace) or {}).get("metadata", {}).get("labels") or {}
        why = admission.of_pod(namespace, self.config.faults) or why or admission.of_level(spec, level)
        if why:
            raise forbidden("pods", metadata.get("name", ""), why)

    def is_another(self, new: Object, old: Object) -> bool:
        # being scheduled is no change of what the pod is to be
        return super().is_another(new, old) and new["spec"].get("nodeName") == old["spec"].get("nodeName")

    def grace(self, obj: Object, requested: int | None) -> int:
        """How long a pod may take to stop: not at all if it never started or has ended."""
        if not obj["spec"].get("nodeName") or obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        if requested is None:
            return int(obj["spec"].get("terminationGracePeriodSeconds", 30))
        return 1 if requested < 0 else requested


def _check_update(spec: Object, old: Object) -> list[Cause]:
    """Little of a pod may change: images, a shorter deadline, added tolerations; a node once, by binding."""
    if spec == old:
        return []
    masked = copy_object(spec)
    for (_, container), (_, before) in zip(podspec.containers(masked), podspec.containers(old), strict=False):
        container["image"] = before["image"]
    for key in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"):
        if key in old:
            masked[key] = old[key]
        else:
            masked.pop(key, None)
    if not old.get("nodeName"):
        masked.pop("nodeName", None)
    if masked == old:
        return []
    text = (
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    return [forbidden_field("spec", text)]


STRATEGIES: dict[str, type[Strategy]] = {"pods": PodStrategy}
