"""Reviews: who am I, what may I do. The lab has one user, who may do everything."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from kubereach_lab import status
from kubereach_lab.admission import may
from kubereach_lab.api.bodies import Representation, parse_object
from kubereach_lab.api.context import answer
from kubereach_lab.faults import HEALTHY, Faults
from kubereach_lab.pki import ADMIN, ADMIN_GROUP
from kubereach_lab.resources import Resource
from kubereach_lab.times import now


def review(
    resource: Resource, form: Representation, text: bytes, content_type: str, faults: Faults = HEALTHY
) -> web.Response:
    """Answers a self-subject review. Raises `StatusError`."""
    spec: dict[str, Any] = parse_object(text, content_type, resource).value.get("spec") or {}
    metadata: dict[str, Any] = {}
    body: dict[str, Any] = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    if resource.name == "selfsubjectreviews":
        metadata["creationTimestamp"] = now()
        groups = [ADMIN_GROUP, "system:authenticated"]
        body["status"] = {"userInfo": {"username": ADMIN, "groups": groups}}
    elif resource.name == "selfsubjectaccessreviews":
        if ("resourceAttributes" in spec) == ("nonResourceAttributes" in spec):
            why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            cause = status.invalid_value("spec.resourceAttributes", spec.get("resourceAttributes"), why)
            raise status.invalid("", "", [cause], resource.group)
        body["spec"] = spec
        attributes = spec.get("resourceAttributes") or {}
        allowed = may(
            attributes.get("verb", ""), attributes.get("resource", ""), attributes.get("namespace"), faults
        )
        body["status"] = {"allowed": allowed}
        if allowed:
            body["status"]["reason"] = f"{ADMIN_GROUP} may do everything"
    else:
        body["spec"] = {}
        body["status"] = {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    return answer(body, code=201, form=form)
