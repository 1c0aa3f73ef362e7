"""A vantage: a place that probes start from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

from kubereach.model.errors import CannotMeasure, InstrumentBroke, Unreachable
from kubereach.model.outcome import REFUSED, Answer, SeriesResult
from kubereach.probe.context import RunContext
from kubereach.probe.multiplexer import OVER, Multiplexer
from kubereach.probe.pacing import TokenBucket
from kubereach.probe.prober import RESENDS_AFTER, Prober
from kubereach.probe.running_series import RunningSeries
from kubereach.probe.series import Series
from kubereach.probe.streams import Stream

#: the kinds of vantage, as events and reports name them
POD, OTHER_NAMESPACE, NODE, OUTSIDE = "pod", "other-namespace", "node", "outside"

#: local ports that an ordinary client may try
_SECOND_TRIES = 3
_HANGS = "its stream or its node hangs"


class StreamBroke(InstrumentBroke):
    """The stream to a prober broke: of the series that were under way nothing is known."""


class Vantage:
    """A prober behind a stream. `kind`, `node`, `name` (``pod@worker2``) and `address` say where it is.

    A broken stream raises `CannotMeasure`, never a verdict; the next series opens a new one.
    """

    #: how many probers that end before they greet us are started before a vantage cannot be opened
    attempts = 3

    def __init__(
        self,
        kind: str,
        node: str,
        open_stream: Callable[[], Stream],
        multiplexer: Multiplexer,
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
        self._open_stream = open_stream
        self._multiplexer = multiplexer
        #: held for a moment only: nothing is waited for under it
        self._lock = threading.Lock()
        self._prober: Prober | None = None
        #: a prober that is being started
        self._opening: Future[Prober] | None = None

    def __repr__(self) -> str:
        return f"<Vantage {self.name}>"

    @property
    def resends_after(self) -> float:
        """Seconds after which its resolver asks again, as its prober says when it greets; musl's until then."""
        prober = self._prober
        return RESENDS_AFTER if prober is None else prober.resends_after

    def open(self) -> None:
        """Have a prober that has greeted us. Raises `CannotMeasure`."""
        self._opened()

    def _opened(self) -> Prober:
        """The prober; the first to ask for one that is not there begins to start it, outside of any lock."""
        with self._lock:
            if self._prober is not None and self._prober.alive:
                return self._prober
            opening = self._opening
            if opening is None:
                opening = self._opening = Future()
                name = f"open {self.name}"
                threading.Thread(target=self._start_prober, args=(opening,), name=name, daemon=True).start()
        limit = self.context.settings.exec_timeout
        try:
            return opening.result(limit)
        except FutureTimeout:
            with self._lock:
                if self._opening is opening:
                    self._opening = None
            raise self._silent(limit) from None

    def _start_prober(self, opening: Future[Prober]) -> None:
        """Try until a prober greets us; in a thread of its own, since nothing here can be interrupted."""
        limit = self.context.settings.exec_timeout

        def enough(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, Unreachable):  # a server that is away for a moment
                return (state.seconds_since_start or 0.0) > limit / 2
            return state.attempt_number >= self.attempts

        try:
            prober = Retrying(
                retry=retry_if_exception_type((StreamBroke, Unreachable)),
                stop=enough,
                wait=wait_exponential(0.2, max=2.0),
                reraise=True,
            )(self._greeted, limit / self.attempts)
        except BaseException as error:  # who waits for it gets it, whatever it is
            with self._lock:
                if self._opening is opening:
                    self._opening = None
            opening.set_exception(error)
            return
        with self._lock:
            given_up = self._opening is not opening
            if not given_up:
                self._prober, self._opening = prober, None
        if given_up:
            prober.end("its greeting came too late")
        opening.set_result(prober)

    def _greeted(self, limit: float) -> Prober:
        """A new prober that has greeted us within `limit` seconds."""
        if self._multiplexer.over:
            raise CannotMeasure(OVER)
        prober = Prober(self._open_stream(), self._multiplexer, self.name, self.broke)
        try:
            prober.greeted.result(limit)
        except FutureTimeout:
            prober.end("it sent no greeting")
            raise self._silent(limit) from None
        return prober

    def _silent(self, seconds: float) -> StreamBroke:
        return StreamBroke(
            f"the prober on {self.name} did not start within {seconds:.0f} s",
            "Its image needs Python >= 3.8 as `python3`: choose one with --image. On a slow cluster raise "
            "--set exec_timeout.",
        )

    def submit(self, series: Series) -> Future[SeriesResult]:
        """Start a series; any number may be under way. The future raises `CannotMeasure` when the stream breaks."""
        return self._opened().start(series)[1]

    def begin(self, series: Series) -> RunningSeries:
        """Start a series that goes on until it is stopped; a flow has had its first ping when this returns.

        Raises `CannotMeasure` when the prober does not begin.
        """
        began: Future[str] = Future()
        prober = self._opened()
        number, future = prober.start(series, began)
        if series.kind == "flow":
            try:
                began.result(series.timeout + self.context.settings.answer_margin)
            except FutureTimeout:
                prober.end(_HANGS)
                raise StreamBroke(f"{self.name} did not start a flow in time: {_HANGS}") from None
        return RunningSeries(lambda **when: prober.stop(number, when), future, series, self)

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
            result = future.result(series.longest + waited + self.context.settings.answer_margin)
        except FutureTimeout:
            with self._lock:
                prober = self._prober
            if prober is not None and prober.owes(future):
                prober.end(_HANGS)  # the next series gets a new stream
            raise StreamBroke(
                f"{self.name} did not answer in time: {_HANGS}",
                "Check the pod and its node; on a very slow cluster lower --set in_flight.",
            ) from None
        if not series.paced and (refused := result.outcomes[REFUSED]):
            self.refusals.spent(refused)
        self.context.lateness.note(self.name, result)
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

    def broke(self, reason: str) -> StreamBroke:
        """The error of a stream that has ended because of `reason`."""
        return StreamBroke(
            f"the stream to {self.name} broke: {reason}",
            "Probes need exec into kubereach's pods for the whole run; check the pod, its node and "
            "the API server.",
        )


class OutsideVantage(Vantage):
    """The machine that runs pytest. Bulk probes come from the very same prober; httpx gives a second opinion."""

    #: what a command on this machine says does not change by repeating it
    attempts = 1
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
                # the head is enough: a body of somebody else may have no end
                with httpx.stream("GET", url, timeout=timeout, trust_env=False) as response:
                    status = response.status_code
            except httpx.ConnectTimeout as error:
                complaint = f"{type(error).__name__}: {error}"
                continue
            except (httpx.HTTPError, ValueError) as error:
                return f"{type(error).__name__}: {error}"
            return "" if status == 200 else f"HTTP status {status}"
        return complaint
