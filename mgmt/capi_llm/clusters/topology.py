"""From a spec to its Cluster object, and back. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from capi_llm import versions
from capi_llm.clusters import specfile
from capi_llm.clusters.spec import DEFAULT_DOMAIN, ClusterSpec, Pool
from capi_llm.contract import rollout
from capi_llm.kube.resources import CLUSTERS, Object
from capi_llm.settings.words import FORMER

INTENT = f"{versions.GROUP}/intent"
"""Annotation of a Cluster: what the user said, as JSON in the words of ``-f FILE``."""

BUNDLES = f"{versions.GROUP}/bundles"
"""Label of a Cluster: which set of app bundles it gets."""

AUTO_IMPORT = "cluster-api.cattle.io/rancher-auto-import"
MIN_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size"
MAX_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size"
CPU = "capacity.cluster-autoscaler.kubernetes.io/cpu"
MEMORY = "capacity.cluster-autoscaler.kubernetes.io/memory"

DEFAULT_CNI = "calico"


def manifest(spec: ClusterSpec) -> Object:
    """The Cluster object of ``spec``."""
    class_namespace, _, class_name = spec.cluster_class.rpartition("/")
    topology: dict[str, Any] = {"class": class_name}
    if class_namespace and class_namespace != spec.namespace:
        topology["classNamespace"] = class_namespace
    topology |= {
        "version": spec.version,
        "controlPlane": {"replicas": spec.control_plane},
        "workers": {"machineDeployments": [pool_entry(pool) for pool in spec.pools]},
    }
    if spec.variables:
        topology["variables"] = [{"name": name, "value": value} for name, value in spec.variables.items()]
    return {
        "apiVersion": CLUSTERS.api_version,
        "kind": CLUSTERS.kind,
        "metadata": {
            "name": spec.name,
            "namespace": spec.namespace,
            "labels": default_labels(spec) | dict(spec.labels),
            "annotations": {INTENT: intent(spec)},
        },
        "spec": {
            "clusterNetwork": {
                "pods": {"cidrBlocks": [spec.pods]},
                "services": {"cidrBlocks": [spec.services]},
                "serviceDomain": spec.service_domain,
            },
            "topology": topology,
        },
    }


def default_labels(spec: ClusterSpec) -> dict[str, str]:
    """What bundles and Rancher select clusters by; ``--label`` overrides each."""
    return {
        "cni": str(spec.variables.get("cni", DEFAULT_CNI)),
        AUTO_IMPORT: "true",
        BUNDLES: "llm",
        **kubernetes_label({}, "", spec.version),
    }


def kubernetes_label(labels: Mapping[str, str], before: str, after: str) -> dict[str, str]:
    """The label of a Cluster's Kubernetes, as it goes from one version to another with it.

    Empty where ``labels`` have it otherwise than ``before``, as somebody wants it so.
    """
    said, minor = labels.get(rollout.KUBERNETES), rollout.minor(after)
    if not minor or said not in (None, rollout.minor(before)):
        return {}
    return {rollout.KUBERNETES: minor}


def intent(spec: ClusterSpec) -> str:
    """The value of the annotation :data:`INTENT`."""
    return json.dumps(specfile.render(spec, only_given=True), sort_keys=True, separators=(",", ":"))


def pool_entry(pool: Pool, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The entry of a pool in ``workers.machineDeployments``, over ``base`` where it exists already.

    A scaled pool carries no ``replicas``: the topology would write them back over the autoscaler's.
    """
    entry: dict[str, Any] = {**(base or {}), "class": pool.worker_class, "name": pool.name}
    entry.pop("replicas", None)
    metadata = dict(entry.get("metadata") or {})
    annotations = {**(metadata.get("annotations") or {})}
    for key in (MIN_SIZE, MAX_SIZE):
        annotations.pop(key, None)
    if pool.fixed:
        entry["replicas"] = pool.minimum
    else:
        annotations |= {MIN_SIZE: str(pool.minimum), MAX_SIZE: str(pool.maximum)}
    for key, value in ((CPU, pool.cpu), (MEMORY, pool.memory)):
        if value:
            annotations[key] = value
    entry["metadata"] = metadata | {"annotations": annotations}
    return entry


def pool_of(entry: Mapping[str, Any]) -> Pool:
    """The pool of an entry in ``workers.machineDeployments``.

    Without replicas and without both annotations Cluster API makes one machine: 1..1, not fixed.
    """
    annotations: Mapping[str, str] = (entry.get("metadata") or {}).get("annotations") or {}
    size = scaled_range(annotations)
    replicas = entry.get("replicas")
    low, high = size or (1, 1)
    fixed = replicas is not None
    return Pool(
        entry["name"],
        int(replicas) if replicas is not None else low,
        int(replicas) if replicas is not None else high,
        entry.get("class", ""),
        annotations.get(CPU, ""),
        annotations.get(MEMORY, ""),
        fixed,
    )


def scaled_range(annotations: Mapping[str, str]) -> tuple[int, int] | None:
    """The autoscaler's range in an object's annotations; None unless both are there and numbers."""
    try:
        return int(annotations[MIN_SIZE]), int(annotations[MAX_SIZE])
    except (KeyError, ValueError):
        return None


def pool_entries(cluster: Object) -> list[dict[str, Any]]:
    """The entries of ``workers.machineDeployments`` of a Cluster."""
    return list((_topology(cluster).get("workers") or {}).get("machineDeployments") or [])


def class_of(cluster: Object) -> str:
    """``NAME``, or ``NAMESPACE/NAME`` where the class is in another namespace; empty without topology."""
    topology = _topology(cluster)
    reference = topology.get("classRef") or {}
    name = reference.get("name") or topology.get("class") or ""
    namespace = reference.get("namespace") or topology.get("classNamespace") or ""
    own = cluster["metadata"].get("namespace", "default")
    return f"{namespace}/{name}" if namespace and namespace != own else name


def spec_of(cluster: Object) -> ClusterSpec:
    """The spec of a Cluster with a topology, whoever made it.

    Values come from the topology, as anybody may have changed it; the annotation only says
    which of them were asked for.
    """
    metadata = cluster["metadata"]
    topology = _topology(cluster)
    network = cluster["spec"].get("clusterNetwork") or {}
    said = _said(metadata.get("annotations") or {})
    return ClusterSpec(
        name=metadata["name"],
        namespace=metadata.get("namespace", "default"),
        cluster_class=class_of(cluster),
        version=topology.get("version", ""),
        pods=_network(network, "pods"),
        services=_network(network, "services"),
        service_domain=network.get("serviceDomain") or DEFAULT_DOMAIN,
        control_plane=int((topology.get("controlPlane") or {}).get("replicas") or 1),
        pools=tuple(pool_of(entry) for entry in pool_entries(cluster)),
        labels=dict(metadata.get("labels") or {}),
        variables={entry["name"]: entry.get("value") for entry in topology.get("variables") or []},
        given=frozenset(field for word, field in specfile.WORDS.items() if word in said),
    )


def _said(annotations: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        said: Any = json.loads(annotations.get(INTENT, "{}"))
    except ValueError:
        return {}
    items: dict[str, Any] = said if isinstance(said, dict) else {}
    return {FORMER.get(word, word): value for word, value in items.items()}


def _topology(cluster: Object) -> Mapping[str, Any]:
    topology: Mapping[str, Any] = (cluster.get("spec") or {}).get("topology") or {}
    return topology


def _network(network: Mapping[str, Any], name: str) -> str:
    return ",".join((network.get(name) or {}).get("cidrBlocks") or [])
