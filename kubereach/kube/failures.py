"""Why there is no talking to an API server, in one line and with a remedy."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import urllib3
from cryptography import x509

from kubereach.model.errors import CannotMeasure, Unreachable


def unreachable(
    host: str, error: BaseException, certificate: str | None = None, answered: bool = False
) -> CannotMeasure:
    """Why there is no talking to the API server, in one line, and what to do; `Unreachable` if it may be repeated.

    `certificate` is the client's own, whose expiry a server may answer by just closing the connection. `answered` says
    that there was an answer before: then the server is the right one, and is restarting or behind a busy balancer.
    """
    text, reason = str(error), _root(error)
    # a failure to connect at all comes before certificates are looked at
    connected = not isinstance(
        error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    )
    if connected and ("expired" in text.lower() or has_expired(certificate or "")):
        return CannotMeasure(
            f"an expired certificate on the way to {host}",
            "Renew the kubeconfig (kubeadm certs renew, or your provider's login) and check this "
            "machine's clock.",
        )
    if "certificate verify failed" in text or "CertificateError" in text or "doesn't match" in text:
        return CannotMeasure(
            f"the certificate of {host} is not trusted: {reason}",
            "The certificate-authority in the kubeconfig belongs to another cluster, or the "
            "certificate lacks this address.",
        )
    if isinstance(error, urllib3.exceptions.SSLError) and not answered:
        return CannotMeasure(
            f"TLS handshake with {host} failed: {reason}", "Check the server address in the kubeconfig."
        )
    kind = Unreachable if connected or answered else CannotMeasure
    return kind(
        f"cannot reach the API server {host}: {reason}",
        "Check that the cluster is running and that the server address in the kubeconfig is "
        "right: `kubectl version`.",
    )


def _root(error: BaseException) -> str:
    """urllib3 wraps reasons in reasons; the innermost is the one that says something."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return (str(error).strip() or type(error).__name__)[:200]


def has_expired(certificate: str) -> bool:
    """Whether the first certificate of a PEM file is past its time; false when it cannot be read."""
    try:
        found = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
    except (OSError, ValueError):
        return False
    return found.not_valid_after_utc < datetime.now(timezone.utc)
