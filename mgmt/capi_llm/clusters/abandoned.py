"""Objects that Cluster API made for a cluster and then lost sight of.

The topology controller makes the infrastructure object and the control plane before it writes
their names into the Cluster; until then a Secret ``NAME-shim`` owns them. Where the API
server dies in between it makes others later. The first are deleted with that Secret, but
never go: their controllers wait for a Cluster as owner before they do anything, also before
they take their finalizers away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from capi_llm.clusters.tree import CLUSTER_NAME, listed
from capi_llm.contract.conditions import deleting, finalizers
from capi_llm.errors import Conflict, NotFound
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, MACHINES, Object, Ref, Resource


def release(api: Api, name: str, namespace: str, kinds: Iterable[Resource]) -> list[Ref]:
    """Let go of what is abandoned among ``kinds``, and return it; for a cluster that is gone.

    Only what is being deleted, never had a Cluster as owner, and has no machine.
    """
    released = []
    for obj, ref in _abandoned(api, name, namespace, kinds):
        metadata = obj["metadata"]
        try:
            # With the version that was judged: whoever changes it meanwhile comes first.
            api.merge_patch(
                ref, {"metadata": {"finalizers": None, "resourceVersion": metadata["resourceVersion"]}}
            )
        except (Conflict, NotFound):
            continue
        released.append(ref)
    return released


def _abandoned(
    api: Api, name: str, namespace: str, kinds: Iterable[Resource]
) -> Iterator[tuple[Object, Ref]]:
    lost = [
        (obj, kind.ref(obj))
        for kind in kinds
        for obj in listed(api, kind, namespace)
        if (obj["metadata"].get("labels") or {}).get(CLUSTER_NAME) == name and _lost(obj)
    ]
    machines = api.list(MACHINES, namespace, f"{CLUSTER_NAME}={name}") if lost else []
    served = {owner["uid"] for machine in machines for owner in _owners(machine)}
    yield from ((obj, ref) for obj, ref in lost if obj["metadata"]["uid"] not in served)


def _lost(obj: Object) -> bool:
    """Whether it is being deleted, held by Cluster API alone, and never had a Cluster as owner."""
    return (
        deleting(obj)
        and not any(owner["kind"] == CLUSTERS.kind for owner in _owners(obj))
        and all(item.split("/")[0].endswith("cluster.x-k8s.io") for item in finalizers(obj))
    )


def _owners(obj: Object) -> list[Object]:
    return list(obj["metadata"].get("ownerReferences") or ())
