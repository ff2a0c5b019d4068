"""Replace the pods of apps, as ``kubectl rollout restart`` does: by a note in the pods' template."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from capi_llm.apps.engine import AppStatus
from capi_llm.errors import NotFound
from capi_llm.kube.client import Api
from capi_llm.kube.resources import Ref

NOTE = "kubectl.kubernetes.io/restartedAt"
_KINDS = {
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("serving.knative.dev", "Service"),
}


def pods(api: Api, states: Sequence[AppStatus]) -> list[Ref]:
    """Have the pods of ``states`` replaced; returns whose they are. Raises NotFound where there are none."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = [
        ref
        for state in states
        for ref in state.on_cluster
        if (ref.resource.group, ref.resource.kind) in _KINDS
    ]
    if not found:
        raise NotFound(f"nothing of {', '.join(state.app for state in states)} has pods to replace")
    for ref in found:
        template = {"metadata": {"annotations": {NOTE: now}}}
        api.merge_patch(ref, {"spec": {"template": template}})
    return found
