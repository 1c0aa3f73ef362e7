"""TLS to pods, whose certificates nobody checks."""

from __future__ import annotations

import ssl


def any_certificate() -> ssl.SSLContext:
    """As the kubelet's probes and the API server's proxy speak it: whatever certificate a pod has is taken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
