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


def takes_pods(obj: Mapping[str, Any]) -> bool:
    """Whether a Node takes pods that tolerate no taint of it."""
    spec = obj.get("spec") or {}
    taints = [taint for taint in spec.get("taints") or () if taint.get("effect") != "PreferNoSchedule"]
    return not spec.get("unschedulable") and not taints
