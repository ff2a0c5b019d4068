"""What reconcilers know of the sandbox's API server, and how they write to it.

Reading is from informers' memory. Writing compares first: what is there already is not
written again, so that a look at something steady sends nothing.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from capi_llm.contract import capi
from capi_llm.kube.client import Api
from capi_llm.kube.informer import Informer
from capi_llm.kube.resources import CLUSTERS, MACHINES, SECRETS, Object, Ref, Resource
from capi_llm.provider.kinds import CLUSTER_NAME, FINALIZER, OURS, cluster_of
from capi_llm.sandbox.workload import Workloads

MANAGER = "capi-llm-kwok-provider"
"""Field manager of what the provider applies."""

KINDS = (CLUSTERS, MACHINES, *OURS)


@dataclass(frozen=True)
class Condition:
    """A condition to be written: ``type`` holds or not, why in one word, and for people."""

    type: str
    true: bool
    reason: str
    message: str = ""


class World:
    """One sandbox as its KWOK provider sees it."""

    def __init__(self, api: Api, workloads: Workloads) -> None:
        self.api = api
        self.workloads = workloads
        self.informers = {kind: Informer(api, kind) for kind in KINDS}

    def items(self, resource: Resource) -> list[Object]:
        """All objects of a kind. Raises Unavailable before they are known, and as :meth:`Informer.check`."""
        return self.informers[resource].items()

    def find(self, ref: Ref) -> Object | None:
        """One object, or None. Raises like :meth:`items`."""
        return self.informers[ref.resource].find(ref.name, ref.namespace)

    def cluster(self, obj: Object) -> Object | None:
        """The Cluster that ``obj`` belongs to, or None where there is none (any more)."""
        name = cluster_of(obj)
        return self.find(Ref(CLUSTERS, name, obj["metadata"]["namespace"])) if name else None

    def of_cluster(self, resource: Resource, namespace: str, cluster: str) -> Iterator[Object]:
        """The objects of a kind that belong to a Cluster."""
        for obj in self.items(resource):
            if obj["metadata"]["namespace"] == namespace and cluster_of(obj) == cluster:
                yield obj

    def paused(self, obj: Object) -> bool:
        """Whether the object or its Cluster is paused: nothing is done then, not even its deletion."""
        cluster = self.cluster(obj)
        return capi.paused(obj) or (cluster is not None and capi.paused(cluster))

    # ------------------------------------------------------------------ writing

    def hold(self, ref: Ref, obj: Object) -> None:
        """Have our finalizer on ``obj``. Raises Conflict where it has changed meanwhile."""
        there = list(obj["metadata"].get("finalizers") or ())
        if FINALIZER not in there:
            self._set_finalizers(ref, obj, [*there, FINALIZER])

    def let_go(self, ref: Ref, obj: Object) -> None:
        """Take our finalizer off."""
        there = list(obj["metadata"].get("finalizers") or ())
        if FINALIZER in there:
            self._set_finalizers(ref, obj, [item for item in there if item != FINALIZER])

    def set_spec(self, ref: Ref, obj: Object, spec: Mapping[str, Any]) -> None:
        """Have the fields of ``spec`` in the object's."""
        there = obj.get("spec") or {}
        if any(there.get(key) != value for key, value in spec.items()):
            self.api.merge_patch(ref, {"spec": spec})

    def set_status(self, ref: Ref, obj: Object, status: Mapping[str, Any], *conditions: Condition) -> None:
        """Have ``status`` and ``conditions`` in the object's; conditions keep their times while they last."""
        before = obj.get("status") or {}
        old = {item["type"]: item for item in (before.get("v1beta2") or {}).get("conditions") or ()}
        wanted = dict(status)
        wanted["v1beta2"] = {"conditions": [_condition(item, old.get(item.type), obj) for item in conditions]}
        if any(before.get(key) != value for key, value in wanted.items()):
            self.api.merge_patch(ref, {"status": wanted}, subresource="status")

    def publish(self, name: str, cluster: str, owner: Object, data: Mapping[str, str]) -> None:
        """Have the Secret ``name`` with ``data``, owned by ``owner``, as Cluster API looks for it."""
        metadata = owner["metadata"]
        ref = Ref(SECRETS, name, metadata["namespace"])
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        there = self.api.find(ref)
        if there is not None and there.get("data") == encoded and cluster_of(there) == cluster:
            return
        secret = {
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": {CLUSTER_NAME: cluster},
                "ownerReferences": [
                    {
                        "apiVersion": owner["apiVersion"],
                        "kind": owner["kind"],
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "type": "cluster.x-k8s.io/secret",
            "data": encoded,
        }
        self.api.server_side_apply(ref, secret, manager=MANAGER)

    def _set_finalizers(self, ref: Ref, obj: Object, finalizers: list[str]) -> None:
        # A merge patch replaces the list, so it must not have changed since it was read.
        version = obj["metadata"]["resourceVersion"]
        self.api.merge_patch(ref, {"metadata": {"finalizers": finalizers, "resourceVersion": version}})


def _condition(wanted: Condition, old: Mapping[str, Any] | None, obj: Object) -> Object:
    status = "True" if wanted.true else "False"
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    turned = old is None or old["status"] != status
    return {
        "type": wanted.type,
        "status": status,
        "reason": wanted.reason,
        "message": wanted.message,
        "lastTransitionTime": now if turned or old is None else old["lastTransitionTime"],
        "observedGeneration": obj["metadata"].get("generation", 0),
    }
