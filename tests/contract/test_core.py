"""What Kubernetes' own objects say of themselves."""

from __future__ import annotations

import pytest

from capi_llm.contract import core


def _taint(key: str, effect: str = "NoSchedule") -> dict[str, str]:
    return {"key": key, "effect": effect}


@pytest.mark.parametrize(
    ("spec", "takes"),
    [
        ({}, True),
        ({"unschedulable": True}, False),
        ({"taints": [_taint("node-role.kubernetes.io/control-plane")]}, False),
        ({"taints": [_taint("nvidia.com/gpu")]}, False),
        ({"taints": [_taint("dedicated", "PreferNoSchedule")]}, True),
        # Ready a moment ago: the controllers have not yet taken their taints off.
        ({"taints": [_taint("node.kubernetes.io/not-ready")]}, True),
        ({"taints": [_taint("node.cluster.x-k8s.io/uninitialized")]}, True),
        ({"taints": [_taint("node.kubernetes.io/not-ready"), _taint("nvidia.com/gpu")]}, False),
    ],
)
def test_a_node_takes_pods(spec: dict[str, object], takes: bool) -> None:
    assert core.takes_pods({"kind": "Node", "spec": spec}) is takes
