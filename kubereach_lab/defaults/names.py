"""Names, labels and the other small formats of metadata, refused in the API server's own words.

Sources: k8s.io/apimachinery util/validation and api/validation.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from kubereach_lab.status import Cause, Object, invalid_value, required

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_PORT_NAME = re.compile(r"[-a-z0-9]+")

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    f"'{_LABEL.pattern}')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN.pattern}')"
)
_QUALIFIED_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_QUALIFIED_PART.pattern}')"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_LABEL_VALUE.pattern}')"
)


def label_problems(value: str) -> list[str]:
    """Why `value` is no RFC 1123 label; empty if it is one."""
    if len(value) > 63:
        return ["must be no more than 63 characters"]
    return [] if _LABEL.fullmatch(value) else [_LABEL_TEXT]


def service_name_problems(value: str) -> list[str]:
    """As `label_problems`, but dots have a message of their own, as Services do since they may begin with a digit."""
    if _SUBDOMAIN.fullmatch(value) and "." in value:
        return ["must not contain dots"]
    return label_problems(value)


def subdomain_problems(value: str) -> list[str]:
    """Why `value` is no RFC 1123 subdomain; empty if it is one."""
    if len(value) > 253:
        return ["must be no more than 253 characters"]
    return [] if _SUBDOMAIN.fullmatch(value) else [_SUBDOMAIN_TEXT]


def qualified_name_problems(value: str) -> list[str]:
    """Why `value` is no key of a label or annotation (``prefix/name``)."""
    prefix, slash, name = value.rpartition("/")
    problems: list[str] = []
    if slash:
        if not prefix:
            problems.append("prefix part must be non-empty")
        else:
            problems += [f"prefix part {text}" for text in subdomain_problems(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append("name part must be no more than 63 characters")
    if not _QUALIFIED_PART.fullmatch(name):
        problems.append(_QUALIFIED_TEXT)
    return problems


def port_name_problems(value: str) -> list[str]:
    """Why `value` is no name of a port (an IANA service name)."""
    problems: list[str] = []
    if len(value) > 15:
        problems.append("must be no more than 15 characters")
    if not _PORT_NAME.fullmatch(value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value and (value.startswith("-") or value.endswith("-")):
        problems.append("must not begin or end with a hyphen")
    return problems


def label_value_problems(value: str) -> list[str]:
    """Why `value` is no value of a label."""
    if len(value) > 63:
        return ["must be no more than 63 characters"]
    return [] if _LABEL_VALUE.fullmatch(value) else [_LABEL_VALUE_TEXT]


def check_labels(labels: Mapping[str, Any], field: str) -> list[Cause]:
    """Causes for keys and values that are no labels."""
    causes: list[Cause] = []
    for key, value in labels.items():
        causes += [invalid_value(field, key, text) for text in qualified_name_problems(key)]
        causes += [invalid_value(field, value, text) for text in label_value_problems(value)]
    return causes


def check_annotations(annotations: Mapping[str, Any], field: str) -> list[Cause]:
    return [
        invalid_value(field, key, text)
        for key in annotations
        for text in qualified_name_problems(key.lower())
    ]


def check_ip(value: str, field: str) -> list[Cause]:
    """Causes unless `value` is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return [invalid_value(field, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    return []


def check_ordinary_ip(value: str, field: str) -> list[Cause]:
    """Causes if an address, which is one, is of a range that no endpoint can have."""
    address = ipaddress.ip_address(value)
    ranges = [
        (address.is_unspecified, "may not be unspecified (0.0.0.0 or ::)"),
        (address.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (address.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (
            address.is_multicast and str(address).startswith(("224.0.0.", "ff02:")),
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ]
    return [invalid_value(field, value, text) for wrong, text in ranges if wrong]


def check_metadata(obj: Object, problems: list[str]) -> list[Cause]:
    """Causes in the metadata of a new object. `problems` are those of its name."""
    metadata = obj["metadata"]
    name = metadata.get("name", "")
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    causes = [invalid_value("metadata.name", name, text) for text in problems]
    causes += check_labels(metadata.get("labels") or {}, "metadata.labels")
    causes += check_annotations(metadata.get("annotations") or {}, "metadata.annotations")
    for i, owner in enumerate(metadata.get("ownerReferences") or ()):
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                causes.append(
                    invalid_value(f"metadata.ownerReferences[{i}].{key}", "", f"{key} must not be empty")
                )
    return causes
