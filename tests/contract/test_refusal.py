"""What webhooks say, in words for a person. The texts are Cluster API v1.10.7's and the API server's."""

from __future__ import annotations

import pytest

from capi_llm.contract.refusal import reasons

HOOK = 'admission webhook "validation.cluster.cluster.x-k8s.io" denied the request: '
CLUSTER = 'Cluster.cluster.x-k8s.io "demo" is invalid: '
IMMUTABLE = (
    'admission webhook "validation.devmachinetemplate.infrastructure.cluster.x-k8s.io" denied the request: '
    'DevMachineTemplate.infrastructure.cluster.x-k8s.io "x" is invalid: spec.template.spec: Invalid value: '
    'v1beta1.DevMachineTemplate{TypeMeta:v1.TypeMeta{Kind:"", APIVersion:""}}: DevMachineTemplate '
    "spec.template.spec field is immutable. Please create a new resource instead. Diff:   v1beta1.Spec{...}"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f'{HOOK}{CLUSTER}spec.topology.version: Invalid value: "v1.30.0": version cannot be decreased '
            'from "1.32.0" to "1.30.0"',
            ['spec.topology.version: version cannot be decreased from "1.32.0" to "1.30.0" ("v1.30.0")'],
        ),
        (
            f'{HOOK}{CLUSTER}[spec.topology.a[0].class: Invalid value: "nope": there is no "nope", really, '
            "spec.topology.variables[cni].value: Required value: is missing, "
            "spec.b: Forbidden: cannot be removed]",
            [
                'spec.topology.a[0].class: there is no "nope", really',
                "spec.topology.variables[cni].value: is missing",
                "spec.b: cannot be removed",
            ],
        ),
        (
            f"{CLUSTER}spec.x: Invalid value: v1beta1.Thing{{A:1, B:v1.C{{}}}}: must be smaller",
            ["spec.x: must be smaller"],
        ),
        (
            "failed to create typed patch object (default/demo; cluster.x-k8s.io/v1beta1, Kind=Cluster): "
            ".spec.topology.pools: field not declared in schema",
            ["spec.topology.pools: field not declared in schema"],
        ),
        ("quota exceeded", ["quota exceeded"]),
        (IMMUTABLE, ["spec.template.spec: a DevMachineTemplate can not be changed once it is there"]),
    ],
)
def test_reasons(text: str, expected: list[str]) -> None:
    assert [str(reason) for reason in reasons(text)] == expected


def test_what_can_not_be_changed_is_known_as_such() -> None:
    assert [reason.immutable for reason in reasons(IMMUTABLE)] == ["DevMachineTemplate"]
    assert [reason.immutable for reason in reasons("quota exceeded")] == [""]
