"""The pods of a Service: taken in and out by their labels, made ready and unready, and used as vantages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from kubereach.kube.client import Object, path_of
from kubereach.kube.endpoints import serving
from kubereach.kube.watch_cache import is_ready
from kubereach.model.convergence import ENDPOINTS
from kubereach.model.errors import CannotMeasure
from kubereach.model.outcome import OK
from kubereach.probe import Series, VantageGroup
from kubereach.probe.vantage import POD
from kubereach.world.connection import Connection
from kubereach.world.last_change import LastChange
from kubereach.world.selector_mismatch import differences
from kubereach.world.service_object import ServiceObject
from kubereach.world.service_spec import ServiceSpec
from kubereach.world.vantages import Vantages

#: the port on which our backends take HTTP, see manifests/backend.yaml
HTTP = 8080


class ServicePods:
    """The pods of the Service's namespace, by name. Each change waits until a watch has shown it.

    Raises `CannotMeasure` when that takes longer than ``settings.world_deadline`` seconds.
    """

    def __init__(
        self,
        connection: Connection,
        vantages: Vantages,
        obj: ServiceObject,
        spec: ServiceSpec,
        last_change: LastChange,
    ) -> None:
        self._connection = connection
        self._vantages = vantages
        self._object = obj
        self._spec = spec
        self._last_change = last_change

    def serving(self) -> list[Object]:
        """Those that must serve."""
        return serving(self._object.latest, self._connection.watch_cache.all("Pod", self._object.namespace))

    def vantages(self, names: Iterable[str]) -> VantageGroup:
        """Vantages inside the named pods, ready or not."""
        wanted = set(names)
        every = self._connection.watch_cache.all("Pod", self._object.namespace)
        chosen = [pod for pod in every if pod["metadata"]["name"] in wanted]
        return self._vantages.in_pods(chosen, POD, labelled=True)

    def mismatches(self) -> list[str]:
        """Which labels keep pods from being its endpoints, in lines; see `kubereach.world.selector_mismatch`."""
        return differences(
            self._spec.selector, self._connection.watch_cache.all("Pod", self._object.namespace)
        )

    def take_in(self, *names: str) -> None:
        """Give pods the labels that the Service's selector asks for."""
        self._label(names, self._spec.selector)

    def take_out(self, *names: str) -> None:
        """Take those labels away again; the pods live on."""
        self._label(names, dict.fromkeys(self._spec.selector))

    def _label(self, names: Sequence[str], labels: Mapping[str, str | None]) -> None:
        namespace, wanted = self._object.namespace, {k: v for k, v in labels.items() if v is not None}
        for name in names:
            self._connection.lent |= {(namespace, name, label): self._object.name for label in wanted}
            change = {"metadata": {"labels": dict(labels)}}
            self._connection.api.patch(path_of(("v1", "Pod"), namespace, name), change)
            self._connection.changed("patch", "Pod", namespace, name)

        def labelled() -> bool:
            pods = [self._connection.watch_cache.get("Pod", namespace, name) for name in names]
            have = [(pod["metadata"].get("labels") or {}) if pod else {} for pod in pods]
            return all({k: v for k, v in one.items() if k in labels} == wanted for one in have)

        self._wait(labelled, f"change of the labels of {', '.join(names)}")

    def set_ready(self, on: bool, *names: str) -> None:
        """Turn the readiness of its own pods on or off, from inside them.

        Raises `CannotMeasure` also when a pod's backend cannot be told.
        """
        namespace, secret = self._object.namespace, self._connection.context.secret
        for vantage in self.vantages(names):
            answer = vantage.run(Series("ready", port=HTTP, secret=secret, more={"on": on})).probes[0].answer
            if answer.outcome != OK:
                raise CannotMeasure(f"cannot change the readiness of {vantage.pod}: {answer.detail}")
            self._connection.changed("ready" if on else "unready", "Pod", namespace, vantage.pod)

        def noticed() -> bool:
            pods = [self._connection.watch_cache.get("Pod", namespace, name) for name in names]
            return all(pod is not None and is_ready(pod) == on for pod in pods)

        self._wait(noticed, f"{'ready' if on else 'unready'} condition of {', '.join(names)}")

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        limit = self._connection.context.settings.world_deadline
        if not self._connection.readiness().wait(done, limit):
            raise CannotMeasure(f"no {what} within {limit:.0f} s", "See `kubectl get pods`.")
        self._last_change.note(ENDPOINTS)
