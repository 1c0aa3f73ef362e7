"""When the change happened that endpoints are written for: an annotation by which latencies are measured.

Source: endpoints.kubernetes.io/last-change-trigger-time of
https://kubernetes.io/docs/reference/labels-annotations-taints/ and TriggerTimeTracker of the endpoints controllers.
"""

from __future__ import annotations

from kubereach_lab.controllers.meta import Key, Object, condition, name_of

ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"


class TriggerTimes:
    """Remembers, for each Service, the times of the changes that were seen."""

    def __init__(self) -> None:
        self._last_times: dict[Key, dict[str, str]] = {}

    def latest(self, service: Object, pods: list[Object]) -> str:
        """The earliest time, RFC 3339, among the changes since the last call for this Service; "" if there is none."""
        before = self._last_times.get(name_of(service), {})
        # a pod's readiness changes it, a Service its being made
        times = {
            pod["metadata"]["name"]: condition(pod, "Ready").get("lastTransitionTime", "") for pod in pods
        }
        times[""] = service["metadata"]["creationTimestamp"]
        self._last_times[name_of(service)] = {name: time for name, time in times.items() if time}
        return min((time for name, time in times.items() if time > before.get(name, "")), default="")

    def forget(self, key: Key) -> None:
        """A Service is gone."""
        self._last_times.pop(key, None)


def annotate(obj: Object, time: str) -> None:
    """Write the time into the annotations of what is written now, or take the last one off."""
    annotations = obj["metadata"].setdefault("annotations", {})
    if time:
        annotations[ANNOTATION] = time
    else:
        annotations.pop(ANNOTATION, None)
