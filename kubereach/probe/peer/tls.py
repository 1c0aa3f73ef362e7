"""TLS handshakes."""

from __future__ import annotations

import socket
import ssl

from .outcomes import empty_row, outcome_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .outcomes import Row


def handshake(request: dict[str, Any]) -> Row:
    """A TLS handshake with the certificate verified for the server's name against the given authority."""
    context = ssl.create_default_context(cadata=request["ca"])
    name = request.get("server_name") or request["host"]
    local = ""
    try:
        with socket.create_connection((request["host"], request["port"]), request.get("timeout", 2)) as plain:
            local = plain.getsockname()[0]
            with context.wrap_socket(plain, server_hostname=name) as secure:
                return empty_row("ok", local, secure.version() or "")
    except ssl.SSLError as error:
        return empty_row("tls", local, getattr(error, "verify_message", "") or str(error))
    except socket.gaierror as error:
        return empty_row("nxdomain" if error.errno == socket.EAI_NONAME else "servfail", local, str(error))
    except socket.timeout:  # noqa: UP041 - not TimeoutError before Python 3.10
        return empty_row("timeout", local)
    except OSError as error:
        # an end in the middle of a handshake has no number
        ended = bool(local) and not error.errno
        return empty_row("tls" if ended else outcome_of(error.errno or 0), local, str(error))
    except ValueError as error:
        # a certificate that cannot be read
        return empty_row("tls", local, str(error))
