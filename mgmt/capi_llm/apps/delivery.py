"""Which engine delivers to a cluster: an annotation of the Cluster object says it, once something is there.

It stands on the management side, where it can be read while the workload cluster is away, and where
Fleet's own objects are too.
"""

from __future__ import annotations

from capi_llm import versions
from capi_llm.apps.engine import ENGINES, Engines, Target
from capi_llm.clusters.kubeconfig import unknown_cluster
from capi_llm.contract import rollout
from capi_llm.errors import Refused
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, Object, Ref

ANNOTATION = f"{versions.GROUP}/delivery"


def find(api: Api, name: str, namespace: str = "default") -> Object:
    """The Cluster object. Raises NotFound with those that there are."""
    obj = api.find(Ref(CLUSTERS, name, namespace))
    if obj is None:
        raise unknown_cluster(name, namespace, [CLUSTERS.ref(item) for item in api.list(CLUSTERS)])
    return obj


def target(cluster: Object) -> Target:
    """The Cluster object as something to deliver to."""
    metadata = cluster["metadata"]
    network = (cluster.get("spec") or {}).get("clusterNetwork") or {}
    pods = tuple((network.get("pods") or {}).get("cidrBlocks") or ())
    labels = dict(metadata.get("labels") or {})
    return Target(metadata["name"], metadata["namespace"], labels, pods, rollout.kubernetes(cluster))


def recorded(cluster: Object) -> Engines | None:
    """The engine that delivers to the cluster; None where nothing was delivered yet."""
    said = (cluster["metadata"].get("annotations") or {}).get(ANNOTATION)
    if said is None:
        return None
    for name in ENGINES:
        if name == said:
            return name
    raise Refused(
        f"apps of this cluster are delivered by {said!r}, which this capi-llm does not know",
        on=str(CLUSTERS.ref(cluster)),
        fix="use the capi-llm that delivered them",
    )


def said(setting: str) -> Engines | None:
    """The engine that setting ``apps.delivery`` names; None where it names none."""
    return next((name for name in ENGINES if name == setting), None)


def choose(cluster: Object, said: Engines | None) -> Engines:
    """The engine to use: what is recorded, else what was ``said``, else the direct one.

    Raises Refused where something else is recorded than was said: objects would have two owners.
    """
    known = recorded(cluster)
    if known is not None and said is not None and known != said:
        name, namespace = cluster["metadata"]["name"], cluster["metadata"]["namespace"]
        where = "" if namespace == "default" else f" -n {namespace}"
        raise Refused(
            f"apps of cluster {name!r} are delivered by {known}, and {said} was asked for",
            on=str(CLUSTERS.ref(cluster)),
            fix=f"leave it at {known}, or change it: capi-llm apps migrate {name} --to {said}{where}",
        )
    return known or said or "direct"


def chosen(cluster: Object, setting: str, usual: str) -> Engines:
    """:func:`choose`, where ``setting`` is said, and ``usual`` is the plane's own where nobody says one."""
    by_plane = said(usual) if recorded(cluster) is None else None
    return choose(cluster, said(setting) or by_plane)


def record(api: Api, cluster: Object, engine: Engines | None) -> None:
    """Write down which engine it is, or with None that there is none any more; not if it says so already."""
    if recorded(cluster) != engine:
        api.merge_patch(CLUSTERS.ref(cluster), {"metadata": {"annotations": {ANNOTATION: engine}}})
