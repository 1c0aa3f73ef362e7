"""The official client's configuration: credentials of every kind, and one answer to which proxy is in between.

Requests and exec go through two libraries that read the environment in two ways; what kubectl would do is decided here,
and both are told. Sources: https://kubernetes.io/docs/tasks/extend-kubernetes/socks5-proxy-access-api/,
https://pkg.go.dev/net/http#ProxyFromEnvironment
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies

import urllib3
import yaml
from kubernetes import config
from kubernetes.client import Configuration
from kubernetes.client.rest import should_bypass_proxies
from kubernetes.config.incluster_config import InClusterConfigLoader

from kubereach.kube.access import ClusterAccess
from kubereach.model.errors import CannotMeasure, UsageError

#: no host: in a list of hosts that need no proxy it stands for none, since an empty list means the environment's
_NOBODY = "none.invalid"


def configuration(access: ClusterAccess) -> Any:
    """A `Configuration` for the way in that a target gives.

    Raises `UsageError` for a kubeconfig or a proxy that cannot be used, `CannotMeasure` for a plugin that fails.
    """
    made: Any = type.__call__(Configuration)
    made.proxy = None  # until the kubeconfig names one
    with _complaints() as complaints:
        try:
            _load(access, made)
        except (config.ConfigException, OSError, ValueError, yaml.YAMLError) as error:
            where = "the pod's service account" if access.service_account else "the kubeconfig"
            raise UsageError(
                f"cannot use {where}: {' '.join(str(error).split())[:200]}", "See `kubectl config view`."
            ) from error
    if complaints:  # the client goes on without credentials when a plugin fails
        # on a terminal its words have gone there, and the client stumbles over their absence
        complaint = complaints[0] if complaints[0].startswith("exec:") else "see its message above"
        raise CannotMeasure(
            f"the credential plugin failed: {' '.join(complaint.removeprefix('exec: ').split())[:300]}",
            "Run `kubectl version` to see whether the plugin needs a login or an update.",
        )
    _through_proxy(made, access)
    return made


def _load(access: ClusterAccess, made: Any) -> None:
    if access.service_account:
        token, authority = (str(access.service_account / name) for name in ("token", "ca.crt"))
        InClusterConfigLoader(token, authority, environ=_server(access)).load_and_set(made)  # type: ignore[no-untyped-call]
        return
    config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=str(access.kubeconfig) if access.kubeconfig else None,
        context=access.context,
        client_configuration=made,
        persist_config=False,
    )


def _server(access: ClusterAccess) -> dict[str, str]:
    host, _, port = access.server.rpartition(":")
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}


def _through_proxy(made: Any, access: ClusterAccess) -> None:
    url = urlsplit(made.host)
    proxies = {} if access.direct else getproxies()
    # a kubeconfig's own proxy counts whatever the environment says
    proxy = made.proxy or proxies.get(url.scheme, "")
    if not made.proxy and (should_bypass_proxies(made.host, proxies.get("no", "")) or _is_here(url.hostname)):
        proxy = ""
    if not proxy:
        made.proxy, made.no_proxy = f"http://{_NOBODY}", "*"
        return
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError(
            f"cannot use the proxy {_without_password(proxy)}: exec needs a proxy with an http:// URL",
            "Set proxy-url or HTTPS_PROXY to an http:// URL, or add the API server to NO_PROXY.",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    made.proxy, made.no_proxy = f"http://{host}:{parts.port or 80}", _NOBODY
    if parts.username:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        made.proxy_headers = urllib3.make_headers(proxy_basic_auth=credentials)


def proxy_of(made: Any) -> str:
    """The proxy that requests go through, without credentials; empty if there is none."""
    return "" if made.no_proxy == "*" else str(made.proxy or "")


def _is_here(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def _without_password(proxy: str) -> str:
    parts = urlsplit(proxy)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.netloc else proxy


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What the client logs meanwhile, in place of writing it to standard error."""
    texts: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    root, handler = logging.getLogger(), Keep(logging.ERROR)
    root.addHandler(handler)
    try:
        yield texts
    finally:
        root.removeHandler(handler)
