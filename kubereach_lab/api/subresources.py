"""Subresources that change or show an object: scale, binding, eviction, finalize, token."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from aiohttp import web

from kubereach_lab import selectors, status
from kubereach_lab.api.bodies import Representation, parse_object
from kubereach_lab.api.context import answer
from kubereach_lab.api.objects import Objects, parse_patch
from kubereach_lab.api.requests import Target, delete_options, write_options
from kubereach_lab.resources import Resource
from kubereach_lab.status import Object
from kubereach_lab.times import now

_SCALE = Resource("scale", "Scale", "autoscaling")
_BINDING = Resource("bindings", "Binding")
_EVICTION = Resource("evictions", "Eviction", "policy")
#: what kubectl drain sends up to v1.21; it is taken still
_OLD_EVICTION = Resource("evictions", "Eviction", "policy", "v1beta1")
_TOKEN = Resource("tokenrequests", "TokenRequest", "authentication.k8s.io")
_TOKEN_SECONDS = 3600


def scale_of(obj: Object) -> Object:
    """The Scale of a workload."""
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept},
        # none is said by leaving the number out, as of every number that is no pointer in Go
        "spec": {"replicas": replicas} if (replicas := obj["spec"].get("replicas", 1)) else {},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": selectors.selector_text(obj["spec"].get("selector") or {}),
        },
    }


class Subresources:
    """Each method answers one request; refusals are raised as `StatusError`."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.registry = objects.registry

    def scale(
        self,
        method: str,
        target: Target,
        form: Representation,
        query: Mapping[str, str],
        text: bytes,
        content_type: str,
    ) -> web.Response:
        resource = target.resource
        current = self.registry.get(resource.name, target.namespace, target.name)
        if method == "GET":
            return answer(scale_of(current), form=form)
        options = write_options(query, "PatchOptions" if method == "PATCH" else "UpdateOptions")
        if method == "PATCH":
            wanted = self.objects.apply_patch(
                _SCALE, scale_of(current), parse_patch(text).value, content_type.partition(";")[0].strip()
            )
        else:
            wanted = parse_object(text, content_type, _SCALE).value
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or isinstance(replicas, bool):
            raise status.bad_request(
                "json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32"
            )
        if replicas < 0:
            cause = status.invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
            raise status.invalid("Scale", target.name, [cause], "autoscaling")
        version = (wanted.get("metadata") or {}).get("resourceVersion")

        def mutate(obj: Object) -> None:
            obj["spec"]["replicas"] = replicas
            if version:
                obj["metadata"]["resourceVersion"] = version

        stored = self.registry.update(
            resource.name, target.namespace, target.name, mutate, dry_run=options.dry_run
        )
        return answer(scale_of(stored), form=form)

    def bind(self, target: Target, form: Representation, text: bytes, content_type: str) -> web.Response:
        """Gives a pod its node, once."""
        body = parse_object(text, content_type, _BINDING).value
        name = target.name or (body.get("metadata") or {}).get("name", "")
        node = (body.get("target") or {}).get("name", "")
        if not node:
            raise status.invalid("Binding", name, [status.required("target.name")])

        def mutate(pod: Object) -> None:
            taken = pod["spec"].get("nodeName")
            if taken:
                why = f"pod {name} is already assigned to node {json.dumps(taken)}"
                raise status.conflict("pods/binding", name, why)
            pod["spec"]["nodeName"] = node

        self.registry.update("pods", target.namespace, name, mutate)
        return answer(_created(), code=201, form=form)

    def evict(
        self, target: Target, form: Representation, query: Mapping[str, str], text: bytes, content_type: str
    ) -> web.Response:
        """Deletes a pod unless a PodDisruptionBudget forbids it (429)."""
        pod = self.registry.get("pods", target.namespace, target.name)
        kind = _OLD_EVICTION if b"policy/v1beta1" in text else _EVICTION
        body = parse_object(text, content_type, kind).value
        options = delete_options(query, body.get("deleteOptions") or {})
        dry_run = options.dry_run or query.get("dryRun") == "All"
        self._check_budgets(pod)
        if not dry_run:
            self.registry.update("pods", target.namespace, target.name, _mark_evicted, subresource="status")
        self.registry.delete(
            "pods",
            target.namespace,
            target.name,
            grace=options.grace,
            propagation=options.propagation,
            preconditions=options.preconditions,
            dry_run=dry_run,
        )
        return answer(_created(), code=201, form=form)

    def _check_budgets(self, pod: Object) -> None:
        namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels") or {}
        for budget in self.registry.list("poddisruptionbudgets", namespace):
            selector = budget["spec"].get("selector")
            if selector is None or not selectors.matches_selector(selector, labels):
                continue
            allowed = (budget.get("status") or {}).get("disruptionsAllowed", 0)
            if allowed > 0:
                continue
            desired = (budget.get("status") or {}).get("desiredHealthy", 0)
            healthy = (budget.get("status") or {}).get("currentHealthy", 0)
            name = budget["metadata"]["name"]
            text = f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
            details = {"causes": [{"reason": "DisruptionBudget", "message": text}]}
            message = "Cannot evict pod as it would violate the pod's disruption budget."
            raise status.StatusError(429, "TooManyRequests", message, details)

    def token(self, target: Target, form: Representation, text: bytes, content_type: str) -> web.Response:
        """A token in the form of a JWT, which opens the API for as long as the lab lives."""
        account = self.registry.get("serviceaccounts", target.namespace, target.name)
        spec = parse_object(text, content_type, _TOKEN).value.get("spec") or {}
        seconds = spec.get("expirationSeconds") or _TOKEN_SECONDS
        expires = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        metadata = account["metadata"]
        user = f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}"
        claims = {"sub": user, "exp": int(expires.timestamp())}
        parts = [json.dumps({"alg": "none"}).encode(), json.dumps(claims).encode(), secrets.token_bytes(32)]
        jwt = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        self.objects.context.pki.tokens.add(jwt)
        body = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "creationTimestamp": now(),
            },
            "spec": {
                "audiences": spec.get("audiences") or ["https://kubernetes.default.svc.cluster.local"],
                "expirationSeconds": seconds,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            "status": {"token": jwt, "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ")},
        }
        return answer(body, code=201, form=form)


def _created() -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _mark_evicted(pod: Object) -> None:
    conditions = pod["status"].setdefault("conditions", [])
    disruption_target = {
        "type": "DisruptionTarget",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now(),
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    pod["status"]["conditions"] = [
        *(c for c in conditions if c["type"] != disruption_target["type"]),
        disruption_target,
    ]
