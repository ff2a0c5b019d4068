"""What happened to a cluster's objects, newest last."""

from __future__ import annotations

from dataclasses import dataclass

from capi_llm.clusters.kubeconfig import unknown_cluster
from capi_llm.clusters.tree import CLUSTER_NAME, CONTROL_PLANES
from capi_llm.kube.client import Api
from capi_llm.kube.resources import (
    CLUSTERS,
    EVENTS,
    MACHINE_DEPLOYMENTS,
    MACHINE_SETS,
    MACHINES,
    Object,
    Ref,
)


@dataclass(frozen=True)
class Event:
    """One event. ``time`` is RFC 3339, of the newest of ``count`` times; ``type`` is Normal or Warning."""

    time: str
    type: str
    reason: str
    kind: str
    name: str
    message: str
    count: int


def of_cluster(api: Api, name: str, namespace: str = "default") -> list[Event]:
    """Events of the Cluster, its control plane, pools and machines, newest last.

    Objects that are gone are known by their names, which begin with the cluster's. Raises
    NotFound where there is neither such a Cluster nor any event of it.
    """
    names = {("Cluster", name)}
    for kind in (*CONTROL_PLANES, MACHINE_DEPLOYMENTS, MACHINE_SETS, MACHINES):
        for obj in api.list(kind, namespace, f"{CLUSTER_NAME}={name}"):
            names.add((kind.kind, obj["metadata"]["name"]))
            names |= _references(obj)
    others = [CLUSTERS.ref(obj) for obj in api.list(CLUSTERS)]
    longer = {ref.name for ref in others if ref.namespace == namespace and ref.name.startswith(f"{name}-")}
    found = []
    for raw in api.list(EVENTS, namespace):
        about = raw.get("involvedObject") or {}
        key = (about.get("kind", ""), about.get("name", ""))
        if key in names or _of_the_past(key[1], name, longer):
            found.append(_event(raw))
    if not found and Ref(CLUSTERS, name, namespace) not in others:
        raise unknown_cluster(name, namespace, others)
    return sorted(found, key=lambda event: event.time)


def of_source(api: Api, source: str) -> list[Event]:
    """Events that the component ``source`` has written, in every namespace, newest last."""
    found = api.list(EVENTS, field_selector=f"source={source}")
    return sorted(map(_event, found), key=lambda event: event.time)


def everywhere(api: Api) -> list[Event]:
    """Every event of every namespace, newest last."""
    return sorted(map(_event, api.list(EVENTS)), key=lambda event: event.time)


def _references(obj: Object) -> set[tuple[str, str]]:
    spec = obj.get("spec") or {}
    references = [spec.get("infrastructureRef"), (spec.get("bootstrap") or {}).get("configRef")]
    return {(reference["kind"], reference["name"]) for reference in references if reference}


def _of_the_past(object_name: str, cluster: str, longer: set[str]) -> bool:
    """Whether a name begins with the cluster's and not with that of a longer named cluster."""
    if not object_name.startswith(f"{cluster}-"):
        return False
    return not any(object_name == other or object_name.startswith(f"{other}-") for other in longer)


def _event(raw: Object) -> Event:
    about = raw.get("involvedObject") or {}
    series = raw.get("series") or {}
    time = (
        series.get("lastObservedTime")
        or raw.get("lastTimestamp")
        or raw.get("eventTime")
        or raw.get("firstTimestamp")
        or raw["metadata"].get("creationTimestamp", "")
    )
    return Event(
        time=str(time),
        type=raw.get("type", "Normal"),
        reason=raw.get("reason", ""),
        kind=about.get("kind", ""),
        name=about.get("name", ""),
        message=" ".join(str(raw.get("message", "")).split()),
        count=int(series.get("count") or raw.get("count") or 1),
    )
