"""Status of Kubernetes' own objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capi_llm.waiting import Status, pending, ready


def node(obj: Mapping[str, Any]) -> Status:
    """READY when the Node's Ready condition is True."""
    for condition in obj.get("status", {}).get("conditions", ()):
        if condition["type"] == "Ready":
            if condition["status"] == "True":
                return ready("ready")
            return pending(f"node is not ready: {condition.get('message') or condition.get('reason', '')}")
    return pending("the node has not reported yet")


_PASSING = ("node.kubernetes.io/", "node.cluster.x-k8s.io/", "node.cloudprovider.kubernetes.io/")
"""What a node is tainted with while it is not ready or not set up
(https://kubernetes.io/docs/reference/labels-annotations-taints/,
https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/api/v1beta1/common_types.go)."""


def takes_pods(obj: Mapping[str, Any]) -> bool:
    """Whether a Node takes pods that tolerate no taint of it, now or as soon as it has settled.

    Taints of :data:`_PASSING` are taken off by controllers, some a moment after the node is Ready.
    """
    spec = obj.get("spec") or {}
    lasting = [
        taint
        for taint in spec.get("taints") or ()
        if taint.get("effect") != "PreferNoSchedule" and not str(taint.get("key")).startswith(_PASSING)
    ]
    return not spec.get("unschedulable") and not lasting
