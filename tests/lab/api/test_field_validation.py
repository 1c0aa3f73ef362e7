"""fieldValidation: what becomes of unknown and repeated fields, in JSON, YAML and patches.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
"""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import httpx
import pytest
from lab_access import LabAccess

_numbers = count()
_UNKNOWN = (
    '"kind":"Service","apiVersion":"v1","colour":1,"spec":{"ports":[{"port":80,"weight":{"a":1}}],"x":{}}'
)
_UNKNOWN_SAID = ['unknown field "colour"', 'unknown field "spec.ports[0].weight"', 'unknown field "spec.x"']
_TWICE = (
    '"kind":"Service","apiVersion":"v1","spec":{"ports":[{"port":1,"port":80}],"type":"a","type":"ClusterIP"}'
)
_TWICE_SAID = ['duplicate field "spec.ports[0].port"', 'duplicate field "spec.type"']
_YAML = """\
apiVersion: v1
kind: Service
metadata: {name: NAME, annotations: {since: "2020-01-02", until: 2020-01-03}}
spec:
  ports:
  - port: 1
    port: 80
  type: a
  type: ClusterIP
  colour: red
"""
_YAML_SAID = [
    'yaml: unmarshal errors:\n  line 7: key "port" already set in map\n  line 9: key "type" already set in map',
    'unknown field "spec.colour"',
]
_CASES = {
    "unknown": ("application/json", f'{{"metadata":{{"name":"NAME"}},{_UNKNOWN}}}', _UNKNOWN_SAID),
    "twice": ("application/json", f'{{"metadata":{{"name":"NAME"}},{_TWICE}}}', _TWICE_SAID),
    "yaml": ("application/yaml", _YAML.replace(", until: 2020-01-03", ""), _YAML_SAID),
}


def send(
    lab: LabAccess, method: str, path: str, body: str, content_type: str, validation: str
) -> httpx.Response:
    return lab.http.request(
        method,
        f"/api/v1/namespaces/default/services{path}",
        params={"fieldValidation": validation} if validation else {},
        content=body,
        headers={"Content-Type": content_type},
    )


def warned(answer: httpx.Response) -> list[str]:
    values = answer.headers.get_list("warning")
    return [json.loads(value.removeprefix("299 - ")) for value in values]


@pytest.mark.parametrize("case", _CASES)
@pytest.mark.parametrize("validation", ["", "Warn", "Ignore", "Strict"])
def test_creation_and_update(case: str, validation: str, lab: LabAccess) -> None:
    content_type, text, said = _CASES[case]
    name = f"fields-{next(_numbers)}"
    body = text.replace("NAME", name)
    answer = send(lab, "POST", "", body, content_type, validation)
    if validation == "Strict":
        message = answer.json()["message"]
        expected = f"strict decoding error: {', '.join(said)}"
        begins = 'Service in version "v1" cannot be handled as a Service: '
        assert (answer.status_code, message) == (400, begins + expected)
        assert send(lab, "GET", f"/{name}", "", "", "").status_code == 404
        return
    assert answer.status_code == 201, answer.text
    # each line of what the YAML reader complains of is a warning of its own
    lines = [
        line.strip() for text in said for line in text.removeprefix("yaml: unmarshal errors:\n").split("\n")
    ]
    assert warned(answer) == ([] if validation == "Ignore" else lines)
    spec = answer.json()["spec"]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert not {"colour", "x"} & (spec.keys() | answer.json().keys())
    again = send(lab, "PUT", f"/{name}", body, content_type, "Strict")
    assert (again.status_code, "strict decoding error" in again.text) == (400, True)
    assert send(lab, "DELETE", f"/{name}", "", "", "").status_code == 200


@pytest.mark.parametrize("kind", ["merge-patch", "strategic-merge-patch", "json-patch"])
def test_patches(kind: str, lab: LabAccess) -> None:
    name = f"fields-{next(_numbers)}"
    service: Any = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}
    created = send(lab, "POST", "", json.dumps(service), "application/json", "Strict")
    assert created.status_code == 201
    patch = '{"spec":{"colour":"red"}}'
    if kind == "json-patch":
        patch = '[{"op":"add","path":"/spec/colour","value":"red"}]'
    content_type = f"application/{kind}+json"
    strict = send(lab, "PATCH", f"/{name}", patch, content_type, "Strict")
    assert (strict.status_code, 'unknown field \\"spec.colour\\"' in strict.text) == (422, True)
    for validation, said in (("Warn", ['unknown field "spec.colour"']), ("Ignore", [])):
        answer = send(lab, "PATCH", f"/{name}", patch, content_type, validation)
        assert (answer.status_code, warned(answer)) == (200, said)
        assert answer.json()["metadata"]["resourceVersion"] == created.json()["metadata"]["resourceVersion"]
    if kind != "json-patch":
        twice = '{"spec":{"type":"a","type":"ClusterIP"}}'
        strict = send(lab, "PATCH", f"/{name}", twice, content_type, "Strict")
        assert (strict.status_code, 'duplicate field \\"spec.type\\"' in strict.text) == (422, True)
        assert warned(send(lab, "PATCH", f"/{name}", twice, content_type, "")) == [
            'duplicate field "spec.type"'
        ]
    assert send(lab, "DELETE", f"/{name}", "", "", "").status_code == 200


def test_a_date_in_yaml_is_a_string(lab: LabAccess) -> None:
    body = _YAML.replace("NAME", "dated").replace("  - port: 1\n    port: 80\n", "  - port: 80\n")
    answer = send(lab, "POST", "", body, "application/yaml", "Ignore")
    assert answer.json()["metadata"]["annotations"] == {"since": "2020-01-02", "until": "2020-01-03"}
    assert send(lab, "DELETE", "/dated", "", "", "").status_code == 200


def test_another_value_is_refused(lab: LabAccess) -> None:
    answer = send(lab, "POST", "", "{}", "application/json", "Loose")
    assert answer.status_code == 422
    assert 'fieldValidation: Unsupported value: "Loose"' in answer.json()["message"]
