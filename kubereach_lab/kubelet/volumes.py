"""A pod's volumes as folders of the lab's tmpfs."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from kubereach_lab.registry import Registry

Object = dict[str, Any]


class VolumeError(Exception):
    """A volume's source is missing or of a kind that the lab does not have; the text is the kubelet's words."""


def make_volumes(registry: Registry, pod: Object, folder: Path, token: str, ca: str) -> dict[str, Path]:
    """Fill a folder below `folder` for each volume of the pod; returns them by volume name.

    Raises:
        VolumeError: a ConfigMap or Secret does not exist, or the kind of volume is not supported.
    """
    made = {}
    for volume in pod["spec"].get("volumes") or []:
        path = folder / volume["name"]
        path.mkdir(parents=True, exist_ok=True)
        try:
            _Filler(registry, pod, path, token, ca).fill(volume)
        except VolumeError as error:
            raise VolumeError(f'volume "{volume["name"]}" : {error}') from error
        made[volume["name"]] = path
    return made


class _Filler:
    def __init__(self, registry: Registry, pod: Object, path: Path, token: str, ca: str) -> None:
        self.registry = registry
        self.pod = pod
        self.namespace = pod["metadata"]["namespace"]
        self.path = path
        self.token = token
        self.ca = ca

    def fill(self, volume: Object) -> None:
        if "emptyDir" in volume:
            self.path.chmod(0o777)
        elif "configMap" in volume:
            self._config_map(volume["configMap"])
        elif "secret" in volume:
            self._secret(volume["secret"], volume["secret"]["secretName"])
        elif "downwardAPI" in volume:
            self._downward(volume["downwardAPI"])
        elif "projected" in volume:
            self._projected(volume["projected"])
        else:
            kind = next((key for key in volume if key != "name"), "?")
            raise VolumeError(f"the lab has no volumes of kind {kind}")

    def _projected(self, source: Object) -> None:
        for part in source.get("sources") or []:
            if "configMap" in part:
                self._config_map(part["configMap"])
            elif "secret" in part:
                self._secret(part["secret"], part["secret"]["name"])
            elif "downwardAPI" in part:
                self._downward(part["downwardAPI"])
            elif "serviceAccountToken" in part:
                self._write(part["serviceAccountToken"]["path"], self.token.encode())

    def _config_map(self, source: Object) -> None:
        found = self.registry.find("configmaps", self.namespace, source["name"])
        if found is None:
            if not source.get("optional"):
                raise VolumeError(f'configmap "{source["name"]}" not found')
            return
        data = {key: text.encode() for key, text in (found.get("data") or {}).items()}
        data |= {key: base64.b64decode(text) for key, text in (found.get("binaryData") or {}).items()}
        self._items(data, source)

    def _secret(self, source: Object, name: str) -> None:
        found = self.registry.find("secrets", self.namespace, name)
        if found is None:
            if not source.get("optional"):
                raise VolumeError(f'secret "{name}" not found')
            return
        data = {key: base64.b64decode(text) for key, text in (found.get("data") or {}).items()}
        self._items(data, source)

    def _items(self, data: dict[str, bytes], source: Object) -> None:
        items = source.get("items")
        if not items:
            for key, content in data.items():
                self._write(key, content)
            return
        for item in items:
            if item["key"] in data:
                self._write(item["path"], data[item["key"]])
            elif not source.get("optional"):
                raise VolumeError(f"references non-existent config key: {item['key']}")

    def _downward(self, source: Object) -> None:
        for item in source.get("items") or []:
            self._write(
                item["path"], field_value(self.pod, item.get("fieldRef", {}).get("fieldPath", "")).encode()
            )

    def _write(self, name: str, content: bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def field_value(pod: Object, path: str) -> str:
    """A field of the pod as the downward API gives it."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    if path.startswith(("metadata.labels['", "metadata.annotations['")):
        kind, key = path[len("metadata.") :].split("['", 1)
        return str((meta.get(kind) or {}).get(key.rstrip("]").rstrip("'"), ""))
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = meta.get(path.split(".")[1]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(pairs.items()))
    values = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": ",".join(ip["ip"] for ip in status.get("podIPs", [])),
        "status.hostIP": status.get("hostIP", ""),
        "status.hostIPs": ",".join(ip["ip"] for ip in status.get("hostIPs", [])),
    }
    return str(values.get(path, ""))
