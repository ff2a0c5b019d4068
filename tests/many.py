"""Many clusters at once: written as Cluster API would leave them, with no manager at work.

``python tests/many.py`` bootstraps the sandbox that the environment names, stops its managers
and writes 200 clusters with 1,000 machines.
"""

from __future__ import annotations

import contextlib
import copy
import re
import sys
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from capi_llm import plane
from capi_llm.errors import Conflict
from capi_llm.identity import Identities
from capi_llm.kube.client import Api
from capi_llm.kube.resources import (
    CLUSTERS,
    KUBEADM_CONTROL_PLANES,
    MACHINE_DEPLOYMENTS,
    MACHINES,
    Object,
    Resource,
)
from capi_llm.sandbox.parts import MANAGERS
from capi_llm.sandbox.supervisor import Supervisor
from capi_llm.settings import load
from capi_llm.steps.cluster_api import ClusterApi
from capi_llm.steps.context import Context, Plane

READY = Path(__file__).parent / "clusters" / "data" / "ready.yaml"
_OLD_NAME = re.compile(r"(?<![\w-])up(?=[-,}\n])")
KINDS = {kind.kind: kind for kind in (CLUSTERS, KUBEADM_CONTROL_PLANES, MACHINE_DEPLOYMENTS, MACHINES)}
_ADMISSION = [
    Resource("admissionregistration.k8s.io", "v1", plural, kind, namespaced=False)
    for plural, kind in (
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
    )
]

_TEMPLATE = {
    "bootstrap": {"configRef": {"apiVersion": "bootstrap.cluster.x-k8s.io/v1beta1", "kind": "KubeadmConfig"}},
    "clusterName": "any",
    "infrastructureRef": {"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "DevMachine"},
}
_LEFT_OUT = {
    "KubeadmControlPlane": {
        "kubeadmConfigSpec": {
            "clusterConfiguration": {"apiServer": {"certSANs": ["localhost", "127.0.0.1"]}}
        },
        "machineTemplate": {"infrastructureRef": _TEMPLATE["infrastructureRef"]},
    },
    "MachineDeployment": {
        "clusterName": "any",
        "selector": {"matchLabels": {"any": "any"}},
        "template": {"spec": _TEMPLATE},
    },
}
"""What the recorded objects lack of what their kinds require."""


def objects(clusters: int, workers: int, paused: Container[int] = ()) -> Iterator[Object]:
    """Ready clusters ``load-0000`` and so on, each with one control plane machine and ``workers``
    workers; those whose number is in ``paused`` are not ready, as they are paused."""
    pattern = READY.read_text()
    for number in range(clusters):
        text = _OLD_NAME.sub(f"load-{number:04}", pattern)
        for obj in yaml.load_all(text, Loader=yaml.CSafeLoader):
            obj["spec"] = {**_LEFT_OUT.get(obj["kind"], {}), **obj["spec"]}
            _complete(obj["status"])
            if obj["kind"] == "MachineDeployment":
                _counts(obj, workers)
            if obj["kind"] == "Cluster":
                _range(obj, workers)
                if number in paused:
                    obj["spec"]["paused"] = True
            if obj["kind"] == "Machine" and "md-0" in obj["metadata"]["name"]:
                yield from _copies(obj, workers)
            else:
                yield obj


def write(api: Api, wanted: Iterable[Object]) -> None:
    """Create ``wanted`` with their status. There must be no webhooks."""

    def one(obj: Object) -> None:
        kind = KINDS[obj["kind"]]
        with contextlib.suppress(Conflict):  # a run before this one was killed
            # Idempotent: the API server may ask webhooks for a moment yet that are deleted already.
            path = kind.path(obj["metadata"].get("namespace"))
            api.request("POST", path, body=kind.typed(obj), idempotent=True)
        api.merge_patch(kind.ref(obj), {"status": obj["status"]}, subresource="status")

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(one, wanted):
            pass


def fill(ctx: Context, *, clusters: int = 200, workers: int = 4, paused: Container[int] = ()) -> None:
    """Stop the managers of a sandbox, and write the clusters there."""
    supervisor = Supervisor(ctx.sandbox)
    for manager in MANAGERS:
        supervisor.stop_part(manager)
    api = ctx.api()
    for kind in _ADMISSION:
        for obj in api.list(kind):
            api.delete(kind.ref(obj))
    write(api, objects(clusters, workers, paused))
    ClusterApi(()).apply(ctx)


def _complete(status: Any) -> None:
    """The recorded conditions lack what says nothing, and what changes with every run."""
    for condition in status.get("conditions") or ():
        condition.setdefault("lastTransitionTime", "2026-01-01T00:00:00Z")
    for condition in (status.get("v1beta2") or {}).get("conditions") or ():
        condition.setdefault("lastTransitionTime", "2026-01-01T00:00:00Z")
        condition.setdefault("message", "")


def _counts(obj: Any, workers: int) -> None:
    obj["spec"]["replicas"] = workers
    for counts in (obj["status"], obj["status"].get("v1beta2") or {}):
        for name in counts:
            if name.lower().endswith("replicas") and counts[name]:
                counts[name] = workers


def _range(obj: Any, workers: int) -> None:
    for pool in obj["spec"]["topology"]["workers"]["machineDeployments"]:
        for name in pool["metadata"]["annotations"]:
            if name.endswith("max-size"):
                pool["metadata"]["annotations"][name] = str(workers)


def _copies(machine: Any, count: int) -> Iterator[Object]:
    for number in range(count):
        one = copy.deepcopy(machine)
        one["metadata"]["name"] += str(number)
        yield one


if __name__ == "__main__":
    settings = load()
    name = sys.argv[1] if len(sys.argv) > 1 else "sandbox"
    plane.bootstrap(settings, name=name)
    identities = Identities(settings.state)
    fill(Context(settings, Plane(identities, identities.resolve(name, ""))))
