"""The lab as a target: started for the run, entered by this process, gone with it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from kubereach.kube.access import ClusterAccess
from kubereach.model.errors import CannotMeasure, UsageError
from kubereach_lab import Lab, LabConfig, LabError, versions
from kubereach_lab.config import IP_FAMILIES, PROXY_MODES
from kubereach_lab.faults import Faults
from kubereach_lab.launch import NotInstalled


class LabTarget:
    """A lab of its own for every run."""

    name = "lab"

    def __init__(
        self,
        nodes: int = 3,
        faults: tuple[str, ...] = (),
        *,
        ip_family: str | None = None,
        dual_stack: bool = False,
        proxy_mode: str | None = None,
        version: str | None = None,
    ) -> None:
        self._nodes = nodes
        self._ip_family = ip_family
        self._dual_stack = dual_stack
        self._faults = faults
        self._proxy_mode = proxy_mode
        self._version = version
        self._lab: Lab | None = None

    def begin(self) -> None:
        """Start the lab without waiting for it, if it can be started; `open` tells why it cannot."""
        with contextlib.suppress(ValueError, LabError):
            self._lab = self._made()
            self._lab.begin()

    def _made(self) -> Lab:
        return Lab(
            LabConfig(
                nodes=self._nodes,
                ip_family=self._ip_family or IP_FAMILIES[0],
                dual_stack=self._dual_stack,
                faults=Faults(self._faults),
                proxy_mode=self._proxy_mode or PROXY_MODES[0],
                version=versions.named(self._version or versions.DEFAULT),
            )
        )

    def open(self) -> ClusterAccess:
        """Start the lab and move this process into its namespaces, so that it is the outside.

        It must be called before this process has a second thread, and there is no way back.

        Raises:
            UsageError: a lab cannot have that many nodes, or there is no such fault.
            CannotMeasure: this machine cannot run a lab; the text says what is missing.
        """
        try:
            self._lab = self._lab or self._made()
            self._lab.start()
            self._lab.enter()
        except ValueError as error:
            raise UsageError(str(error)) from error
        except NotInstalled as error:
            self.close()
            remedy = f"{error.remedy}, or test a real cluster with --context NAME"
            raise CannotMeasure(error.message, remedy) from error
        except LabError as error:
            self.close()
            raise CannotMeasure(error.message, error.remedy) from error
        nodes = f"{self._nodes} node{'s' if self._nodes > 1 else ''}"
        stacks = (f", {self._ip_family}" if self._ip_family else "") + (
            ", dual stack" if self._dual_stack else ""
        )
        mode = f", {self._proxy_mode}" if self._proxy_mode else ""
        words = f"embedded lab, {nodes}{stacks}{mode}"
        return ClusterAccess(self._lab.kubeconfig, None, words, disposable=True, direct=True)

    def watch(self, lost: Callable[[str], None]) -> None:
        """The lab's end, however it came, would leave every connection hanging: nothing is there to refuse it."""
        lab = self._lab
        assert lab is not None

        def wait() -> None:
            lab.wait()
            if self._lab is not None:
                lost("the lab ended during the run")

        threading.Thread(target=wait, name="lab", daemon=True).start()

    def close(self) -> None:
        """End the lab. Safe to call twice."""
        lab, self._lab = self._lab, None
        if lab is not None:
            lab.stop()
