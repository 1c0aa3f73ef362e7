"""One request to an API server, repeated while the server restarts, is busy, or the way to it is broken."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode

import urllib3
from kubernetes.client import ApiClient
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    wait_random_exponential,
)
from urllib3.connection import HTTPConnection
from urllib3.util import Retry

from kubereach.kube.access import ClusterAccess
from kubereach.kube.auth import configuration, proxy_of
from kubereach.kube.exec_websocket import keepalive
from kubereach.kube.failures import has_expired, unreachable
from kubereach.model.errors import CannotMeasure, Unreachable

#: seconds before a request is repeated, growing from the first to the second, unless the server names its own
_PAUSE, _LONGEST_PAUSE = 0.1, 3.0
#: seconds that a server may ask us to wait, at most
_LONGEST_RETRY_AFTER = 10.0
#: statuses by which a server says, or a balancer in front of it, that the next attempt may well succeed
REPEATED = frozenset({429, 500, 502, 503, 504})
#: seconds for a connection, and without a byte of an answer
_CONNECT, READ = 10.0, 30.0
#: attempts of the first request of all: what is not there at all is reported at once
_FIRST_ATTEMPTS = 4


class ApiError(Exception):
    """The API server refused. `message` is its Status' message, `status` the HTTP code, `reason` the Status' reason."""

    def __init__(self, status: int, reason: str, message: str, what: str, retry_after: float = 0.0) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        #: seconds after which the server wants the request repeated; 0 if it does not say
        self.retry_after = retry_after
        super().__init__(f"{what}: {message or reason} ({status})")


class Transport:
    """The connections to one cluster's API server. Every method may be called from any thread; see `Api`."""

    def __init__(self, access: ClusterAccess, patience: float = 30.0) -> None:
        self.configuration = configuration(access)
        self.configuration.socket_options = [*HTTPConnection.default_socket_options, *keepalive()]
        self._client = ApiClient(self.configuration)
        self._proxy = proxy_of(self.configuration)
        self._patience = patience
        #: whether the server has ever answered
        self._answered = False
        self._closed = False
        #: set when the requests that are under way shall not be repeated any more; later ones have another
        self._interrupted = threading.Event()
        #: the server's clock (seconds since the epoch) less our monotonic one, by its last answer
        self._clock: float | None = None
        self.host: str = self.configuration.host.rstrip("/")

    @property
    def where(self) -> str:
        """The server, and the proxy before it."""
        return f"{self.host} (through the proxy {self._proxy})" if self._proxy else self.host

    @property
    def server_time(self) -> float | None:
        """The server's own time in seconds since the epoch, by the Date of its answers; None if it gave none."""
        return None if self._clock is None else self._clock + time.monotonic()

    def headers(self) -> dict[str, str]:
        """Of each request, credentials included."""
        headers = {"Accept": "application/json", "User-Agent": "kubereach"}
        for setting in self.configuration.auth_settings().values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        return headers

    def once(
        self, method: str, path: str, query: Mapping[str, object], body: object, timeout: float = READ,
        stream: bool = False, content_type: str = "application/json",
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        """One attempt of a request."""
        self.require_open()
        url = self.host + path + ("?" + urlencode(query) if query else "")
        headers = self.headers()
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            response: urllib3.BaseHTTPResponse = self._client.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=urllib3.Timeout(connect=_CONNECT, read=timeout),
                retries=False,
                preload_content=not stream,
            )
        except (urllib3.exceptions.HTTPError, OSError, ssl.SSLError) as error:
            raise unreachable(self.where, error, self.configuration.cert_file, self._answered) from error
        self._answered = True
        with contextlib.suppress(TypeError, ValueError):
            sent = parsedate_to_datetime(response.headers.get("Date", ""))
            self._clock = sent.timestamp() - time.monotonic()
        if response.status < 400:
            return response
        raise self._refusal(response, f"{method} {path}")

    def attempts(self) -> Retrying:
        """Attempts of one request, with pauses, until `patience` is over; two at least, for one may hang as long."""

        # Why the loop is tenacity's, and urllib3's Retry only reads Retry-After: Retry counts attempts and knows no
        # deadline, its pause is time.sleep, which no other thread ends, and it sends the same headers again, where each
        # attempt of ours takes the credentials anew: a token may have been renewed meanwhile. And between the attempts
        # of a POST, `Api.create` has to know that one went before: it may have succeeded, and is looked up then.
        interrupted = self._interrupted

        def enough(state: RetryCallState) -> bool:
            if interrupted.is_set():
                return True
            if not self._answered:
                return state.attempt_number >= _FIRST_ATTEMPTS
            return state.attempt_number >= 2 and (state.seconds_since_start or 0) >= self._patience

        return Retrying(
            retry=retry_if_exception(may_be_repeated),
            stop=enough,
            wait=_pause,
            sleep=sleep_using_event(interrupted),
            reraise=True,
        )

    def send(
        self, method: str, path: str, query: Mapping[str, object], body: object, timeout: float = READ,
        stream: bool = False, content_type: str = "application/json",
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        """A request that may be repeated as it is."""
        return self.attempts()(self.once, method, path, query, body, timeout, stream, content_type)

    def require_open(self) -> None:
        """Raises `CannotMeasure` once the transport has been closed."""
        if self._closed:
            raise CannotMeasure("the run has ended")

    def interrupt(self) -> None:
        """Repeat no request that is under way; those that are begun from now on are."""
        self._interrupted, interrupted = threading.Event(), self._interrupted
        interrupted.set()

    def close(self) -> None:
        """Let go of all connections. A request that is being repeated ends; further ones raise `CannotMeasure`."""
        self._closed = True
        self.interrupt()
        self._client.close()  # type: ignore[no-untyped-call]

    def _refusal(self, response: urllib3.BaseHTTPResponse, what: str) -> ApiError | CannotMeasure:
        try:
            body = json.loads(response.data)
            reason, message = str(body.get("reason", "")), str(body.get("message", ""))
        except (ValueError, AttributeError):
            reason, message = response.reason or "", response.data[:200].decode(errors="replace")
        response.drain_conn()
        if response.status == 401:
            if has_expired(self.configuration.cert_file or ""):
                return unreachable(self.host, Exception(message), self.configuration.cert_file)
            return CannotMeasure(
                f"{self.host} rejected our credentials (401 Unauthorized): {message or reason}",
                "The token or client certificate in the kubeconfig is missing, expired or belongs to "
                "another cluster; log in again and try `kubectl get nodes`.",
            )
        retry_after = 0.0
        with contextlib.suppress(urllib3.exceptions.InvalidHeader):
            retry_after = min(_LONGEST_RETRY_AFTER, Retry().get_retry_after(response) or 0.0)
        return ApiError(response.status, reason, message, what, retry_after)


def may_be_repeated(error: BaseException) -> bool:
    """Whether the next attempt of a request may well succeed."""
    if isinstance(error, ApiError):
        # a patch meets a conflict where the server has lost to others several times
        return error.status in REPEATED or (error.status == 409 and str(error).startswith("PATCH"))
    return isinstance(error, Unreachable)


_GROWING = wait_random_exponential(multiplier=_PAUSE, max=_LONGEST_PAUSE, min=_PAUSE)


def _pause(state: RetryCallState) -> float:
    """Seconds before the next attempt: the server's, if it names them."""
    error = state.outcome.exception() if state.outcome else None
    return max(_GROWING(state), getattr(error, "retry_after", 0.0))
