"""A vantage: a place that probes start from."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import httpx

from kubereach.context import RunContext
from kubereach.errors import CannotMeasure
from kubereach.outcome import REFUSED, Answer, SeriesResult
from kubereach.vantage.ongoing import Ongoing
from kubereach.vantage.pacing import TokenBucket
from kubereach.vantage.series import Series
from kubereach.vantage.streams import Stream
from kubereach.vantage.wire import Wire

#: the kinds of vantage, as events and reports name them
POD, OTHER_NAMESPACE, NODE, OUTSIDE = "pod", "other-namespace", "node", "outside"

#: local ports that an ordinary client may try
_SECOND_TRIES = 3
#: seconds over a series' own longest time after which the stream, not the network, must be at fault
MARGIN = 15.0


class StreamBroke(CannotMeasure):
    """The stream to a prober broke: of the series that were under way nothing is known."""


class Vantage:
    """A prober behind a stream. `kind`, `node`, `name` (``pod@worker2``) and `address` say where it is.

    A broken stream raises `CannotMeasure`, never a verdict; the next series opens a new one.
    """

    def __init__(
        self,
        kind: str,
        node: str,
        open_stream: Callable[[], Stream],
        wire: Wire,
        context: RunContext,
        *,
        pod: str = "",
        namespace: str = "",
        address: str = "",
        label: str = "",
    ) -> None:
        self.kind = kind
        self.node = node
        self.pod = pod
        self.namespace = namespace
        #: the vantage's own address, as a backend sees it when nothing translates it; empty when unknown
        self.address = address
        self.name = label or (f"{kind}@{node}" if node else kind)
        self.context = context
        self.refusals = TokenBucket(context.settings.refusal_interval, context.settings.refusal_burst)
        #: seconds after which its resolver sends a query again, as its prober says when it greets; musl's until then
        self.resends_after = 2.5
        self._open_stream = open_stream
        self._wire = wire
        self._stream: Stream | None = None
        self._pending: dict[int, Future[SeriesResult]] = {}
        self._beginning: dict[int, Future[str]] = {}
        self._number = 0
        self._lock = threading.Lock()
        self._hello: Future[None] = Future()

    def __repr__(self) -> str:
        return f"<Vantage {self.name}>"

    def open(self) -> None:
        """Open the stream and wait for the prober's greeting. Raises `CannotMeasure`."""
        with self._lock:
            if self._stream is not None:
                return
            hello: Future[None] = Future()
            self._hello = hello
            stream = self._open_stream()
            self._stream = stream
            self._wire.attach(stream, self._line, lambda reason: self._broken(stream, reason))
        try:
            hello.result(20)
        except FutureTimeout:
            raise CannotMeasure(
                f"the prober of {self.name} does not start",
                "Its image needs Python >= 3.8 as `python3`: choose one with --image.",
            ) from None

    def submit(self, series: Series) -> Future[SeriesResult]:
        """Start a series; any number may be under way. The future raises `CannotMeasure` when the stream breaks."""
        return self._start(series)[1]

    def begin(self, series: Series) -> Ongoing:
        """Start a series that goes on until it is stopped; a flow has had its first ping when this returns.

        Raises `CannotMeasure` when the prober does not begin.
        """
        began: Future[str] = Future()
        number, future = self._start(series, began)
        if series.kind == "flow":
            try:
                began.result(series.timeout + MARGIN)
            except FutureTimeout:
                raise CannotMeasure(f"{self.name} did not begin a flow in time") from None
        return Ongoing(lambda **when: self._stop(number, when), future, series, self)

    def _stop(self, number: int, when: dict[str, Any]) -> None:
        with self._lock:
            stream = self._stream if number in self._pending else None
        if stream is not None:
            request = {"id": 0, "kind": "stop", "series": number, **when}
            self._wire.send(stream, json.dumps(request).encode() + b"\n")

    def _start(self, series: Series, began: Future[str] | None = None) -> tuple[int, Future[SeriesResult]]:
        self.open()
        future: Future[SeriesResult] = Future()
        with self._lock:
            self._number += 1
            number = self._number
            stream = self._stream
            if stream is None:
                raise StreamBroke(f"the stream to {self.name} broke")
            self._pending[number] = future
            if began is not None:
                self._beginning[number] = began
        self._wire.send(stream, json.dumps(series.request(number)).encode() + b"\n")
        return number, future

    def collect(self, future: Future[SeriesResult], series: Series, waited: float = 0.0) -> SeriesResult:
        """The result of a submitted series; `waited` is what the vantage's other series may take before it.

        A series whose stream breaks under way is made anew, once, over a new stream: it has said nothing yet. Raises
        `CannotMeasure` when that breaks too.
        """
        try:
            return self.ended(future, series, waited)
        except StreamBroke:
            return self.ended(self.submit(series), series, waited)

    def ended(self, future: Future[SeriesResult], series: Series, waited: float = 0.0) -> SeriesResult:
        """The same of a series that cannot be made anew, since something has changed meanwhile."""
        try:
            result = future.result(series.longest + waited + MARGIN)
        except FutureTimeout:
            raise CannotMeasure(
                f"{self.name} did not answer in time: its stream or its machine hangs",
                "Look at the pod and its node; on a very slow cluster lower --set in_flight.",
            ) from None
        if not series.paced and (refused := result.outcomes[REFUSED]):
            self.refusals.spent(refused)
        return result

    def run(self, series: Series) -> SeriesResult:
        """Run a series and wait for it."""
        return self.collect(self.submit(series), series)

    def read_file(self, path: str) -> str:
        """The text of a file where the vantage is. Raises `CannotMeasure` when it cannot be read."""
        answer = self.run(Series("file", more={"path": path})).probes[0].answer
        if answer.outcome != "ok":
            raise CannotMeasure(f"{self.name} cannot read {path}: {answer.detail}")
        return answer.detail

    def second_opinion(self, url: str, timeout: float) -> str:
        """Why an ordinary HTTP client is not content with `url`, else empty. Only outside has one."""
        return ""

    def is_own(self, answer: Answer) -> bool:
        """Whether the client's address that a backend saw is the vantage's own."""
        other_family = (":" in self.address) != (":" in answer.client)
        return answer.client == (answer.local if other_family else self.address or answer.local)

    def _line(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return  # a runtime's own chatter; an answer that got lost in it times out as CannotMeasure
        if "hello" in message:
            self.resends_after = float(message["hello"].get("resends_after", self.resends_after))
            if not self._hello.done():
                self._hello.set_result(None)
            return
        with self._lock:
            began = self._beginning.pop(message.get("id", 0), None)
            future = None if "began" in message else self._pending.pop(message.get("id", 0), None)
        if began is not None:
            began.set_result(message.get("began", ""))
        if future is None:
            return
        try:
            future.set_result(SeriesResult.from_peer(message))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            reason = message.get("error", error)
            future.set_exception(CannotMeasure(f"the prober of {self.name} did not understand us: {reason}"))

    def _broken(self, stream: Stream, reason: str) -> None:
        with self._lock:
            if self._stream is stream:
                self._stream = None
            waiting: list[Future[Any]] = [*self._pending.values(), *self._beginning.values()]
            self._pending.clear()
            self._beginning.clear()
        error = self.broke(reason)
        if not self._hello.done():
            self._hello.set_exception(error)
        for future in waiting:
            future.set_exception(error)

    def broke(self, reason: str) -> StreamBroke:
        """What is told when the stream has ended because of `reason`."""
        return StreamBroke(
            f"the stream to {self.name} broke: {reason}",
            "Probes need exec into our pods for the whole run; look at the pod, its node and the API server.",
        )


class OutsideVantage(Vantage):
    """The machine that runs pytest. Bulk probes come from the very same prober; httpx gives a second opinion."""

    #: whether an address is one of the cluster's; set by the world
    is_inside: Callable[[str], bool] | None = None

    def is_own(self, answer: Answer) -> bool:
        """Its own address, or that of a router on the way: anything but an address of the cluster."""
        if answer.client == answer.local or self.is_inside is None:
            return answer.client == answer.local
        return not self.is_inside(answer.client)

    def second_opinion(self, url: str, timeout: float) -> str:
        """Fetch `url` with an ordinary HTTP client that takes no proxy from the environment.

        Whether packets are lost is for the prober to say, which makes many connections and counts what is sent again.
        The client cannot choose its local port, and one whose last connection was not answered (to a Service that has
        gone, for one) goes on to lead there: so it may try another one.
        """
        complaint = ""
        for _ in range(_SECOND_TRIES):
            try:
                status = httpx.get(url, timeout=timeout, trust_env=False).status_code
            except httpx.ConnectTimeout as error:
                complaint = f"{type(error).__name__}: {error}"
                continue
            except httpx.HTTPError as error:
                return f"{type(error).__name__}: {error}"
            return "" if status == 200 else f"HTTP status {status}"
        return complaint
