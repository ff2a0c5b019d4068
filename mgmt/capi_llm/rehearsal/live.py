"""A world read from a management cluster. Reads only, and no Secrets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from capi_llm.clusters import tree
from capi_llm.contract import capi
from capi_llm.contract.conditions import deleting
from capi_llm.errors import Forbidden
from capi_llm.kube.client import Api
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.resources import (
    CLUSTER_CLASSES,
    CLUSTERS,
    CRDS,
    MACHINE_DEPLOYMENTS,
    MACHINES,
    Object,
    Ref,
    Resource,
)
from capi_llm.rehearsal.world import (
    Key,
    PoolKey,
    World,
    class_key,
    clean,
    key_of,
    pools_of,
    reference_key,
    references,
    template_schema,
)


def read(api: Api, wanted: Iterable[Object], *, source: str) -> World:
    """The clusters that ``wanted`` (the files of a change) can reach, with their classes and templates.

    All Clusters and ClusterClasses are listed, and of them kept: those named in ``wanted``; the
    classes that refer to a template named there; the clusters of those classes; the classes of
    those clusters. Raises NotFound where the server has no Cluster API.
    """
    named = {key_of(obj) for obj in wanted}
    classes = {key_of(obj): obj for obj in api.list(CLUSTER_CLASSES)}
    clusters = {
        key_of(obj): obj
        for obj in api.list(CLUSTERS)
        if (obj.get("spec") or {}).get("topology") and not deleting(obj)
    }
    reached = {key for key, obj in classes.items() if key in named or _templates(obj) & named}
    # Of a cluster that the change moves to another class, both are needed.
    reached |= {class_key(obj) for obj in wanted if obj.get("kind") == CLUSTERS.kind and _has_class(obj)}
    chosen = {key: obj for key, obj in clusters.items() if key in named or class_key(obj) in reached}
    needed = reached | {class_key(obj) for obj in chosen.values()}
    found = {key: obj for key, obj in classes.items() if key in needed}
    objects: dict[Key, Object] = {**chosen, **found}
    discovery, resources = Discovery(api), set[Resource]()
    for key, obj in found.items():
        for _, reference in references(obj):
            template = reference_key(reference, key.namespace)
            if template not in objects:
                resource = discovery.resource_for(dict(reference))
                there = api.find(Ref(resource, template.name, template.namespace))
                if there is not None:
                    objects[template] = {"apiVersion": resource.api_version, "kind": resource.kind} | there
                resources.add(resource)
    # Templates that the change names exist perhaps without a class: what changes in them counts.
    for obj in wanted:
        key = key_of(obj)
        if key not in objects and key.kind.endswith("Template"):
            there = api.find(Ref(discovery.resource_for(obj), key.name, key.namespace))
            if there is not None:
                objects[key] = {"apiVersion": obj["apiVersion"], "kind": obj["kind"]} | there
    replicas, machines = _machines(api, chosen)
    return World(
        {key: clean(obj) for key, obj in objects.items()},
        replicas,
        machines,
        _schemas(api, resources),
        source,
    )


def _schemas(api: Api, resources: Iterable[Resource]) -> dict[tuple[str, str], Any]:
    found = {}
    for resource in resources:
        with contextlib.suppress(Forbidden):  # without it, only the shape of a template is unknown
            crd = api.find(Ref(CRDS, f"{resource.plural}.{resource.group}"))
            schema = template_schema(crd, resource.version) if crd else None
            if schema:
                found[resource.api_version, resource.kind] = schema
    return found


def paused(api: Api, keys: Iterable[Key]) -> list[Key]:
    """Those of the clusters that are paused: a change waits there until they are not."""
    found = []
    for key in keys:
        obj = api.find(Ref(CLUSTERS, key.name, key.namespace))
        if obj is not None and capi.paused(obj):
            found.append(key)
    return found


def _templates(cluster_class: Object) -> set[Key]:
    own = key_of(cluster_class)
    return {reference_key(reference, own.namespace) for _, reference in references(cluster_class)}


def _has_class(cluster: Object) -> bool:
    return bool((cluster.get("spec") or {}).get("topology"))


def _machines(
    api: Api, clusters: dict[Key, Object]
) -> tuple[dict[PoolKey, int], dict[PoolKey, tuple[str, ...]]]:
    replicas: dict[PoolKey, int] = {}
    machines: dict[PoolKey, list[Object]] = {}
    for namespace in sorted({key.namespace for key in clusters}):
        own = {key.name for key in clusters if key.namespace == namespace}
        for obj in api.list(MACHINE_DEPLOYMENTS, namespace):
            key = pool_key(obj)
            if key.cluster in own and key.pool and obj["spec"].get("replicas") is not None:
                replicas[key] = int(obj["spec"]["replicas"])
        for obj in api.list(MACHINES, namespace):
            if obj["spec"].get("clusterName") in own and not deleting(obj):
                machines.setdefault(pool_key(obj), []).append(obj)
    for cluster_key, cluster in clusters.items():
        for entry in pools_of(cluster):
            if entry.get("replicas") is not None:
                replicas.pop(PoolKey(cluster_key.namespace, cluster_key.name, entry["name"]), None)
    return replicas, {key: tuple(obj["metadata"]["name"] for obj in oldest_first(found))
                      for key, found in machines.items()}  # fmt: skip


def pool_key(obj: Object) -> PoolKey:
    """The pool of a Machine or MachineDeployment; ``pool`` is empty for a control plane's machine."""
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    name = "" if capi.CONTROL_PLANE_MACHINE in labels else labels.get(tree.POOL_NAME, "")
    return PoolKey(metadata.get("namespace") or "default", str(obj["spec"].get("clusterName", "")), name)


def oldest_first(machines: Iterable[Object]) -> list[Object]:
    """By creation, then by name."""
    return sorted(
        machines, key=lambda obj: (obj["metadata"].get("creationTimestamp", ""), obj["metadata"]["name"])
    )
