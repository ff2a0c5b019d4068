"""ClusterClasses, their templates and the clusters made from them, before or after a change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from capi_llm import versions
from capi_llm.clusters import topology
from capi_llm.errors import BadInput
from capi_llm.kube.resources import CLUSTER_CLASSES, CLUSTERS, Object


@dataclass(frozen=True, order=True)
class Key:
    """An object's name, whatever the version of its API."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, order=True)
class PoolKey:
    """A pool of a cluster; ``pool`` is empty for the control plane."""

    namespace: str
    cluster: str
    pool: str = ""


@dataclass(frozen=True)
class World:
    """What there is.

    ``replicas`` are how many machines a pool has where its topology does not say so (an autoscaler
    does); ``machines`` are the live names, oldest first. Both are empty for a world from files.
    ``schemas`` say what a provider's templates may hold: (apiVersion, kind) → ``spec.template.spec``.
    """

    objects: Mapping[Key, Object] = field(default_factory=dict)
    replicas: Mapping[PoolKey, int] = field(default_factory=dict)
    machines: Mapping[PoolKey, tuple[str, ...]] = field(default_factory=dict)
    schemas: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    source: str = ""

    def of_kind(self, kind: str) -> list[Object]:
        """All objects of a kind of Cluster API's core group, by namespace and name."""
        return [
            obj for key, obj in sorted(self.objects.items(), key=lambda item: item[0])
            if key.kind == kind and key.group == CLUSTERS.group
        ]  # fmt: skip

    @property
    def clusters(self) -> list[Object]:
        return self.of_kind(CLUSTERS.kind)

    @property
    def classes(self) -> list[Object]:
        return self.of_kind(CLUSTER_CLASSES.kind)

    def class_of(self, cluster: Object) -> Object | None:
        """The ClusterClass that ``cluster`` is made from, or None where it is not in this world."""
        return self.objects.get(class_key(cluster))


def key_of(obj: Object) -> Key:
    """The key of a namespaced object; no namespace means ``default``."""
    metadata = obj.get("metadata") or {}
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    return Key(group, str(obj.get("kind", "")), metadata.get("namespace") or "default", metadata["name"])


def class_key(cluster: Object) -> Key:
    """The key of a cluster's class."""
    where, _, name = topology.class_of(cluster).rpartition("/")
    own = cluster["metadata"].get("namespace") or "default"
    return Key(CLUSTER_CLASSES.group, CLUSTER_CLASSES.kind, where or own, name)


def references(cluster_class: Object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every template of a class with the place that it has in it, e.g. ``control plane machines``."""
    body = cluster_class.get("spec") or {}
    plane = body.get("controlPlane") or {}
    yield "infrastructure", (body.get("infrastructure") or {}).get("ref") or {}
    yield "control plane", plane.get("ref") or {}
    if plane.get("machineInfrastructure"):
        yield "control plane machines", plane["machineInfrastructure"].get("ref") or {}
    for entry in worker_classes(cluster_class):
        template = entry.get("template") or {}
        for word in ("bootstrap", "infrastructure"):
            yield f"{word} of worker class {entry.get('class')}", (template.get(word) or {}).get("ref") or {}


def template_schema(crd: Object, version: str) -> Any:
    """The schema of ``spec.template.spec`` in a CustomResourceDefinition; None where there is none."""
    for item in crd["spec"]["versions"]:
        if item["name"] == version:
            spec = (
                item["schema"]["openAPIV3Schema"].get("properties", {}).get("spec", {}).get("properties", {})
            )
            return spec.get("template", {}).get("properties", {}).get("spec")
    return None


def worker_classes(cluster_class: Object) -> list[dict[str, Any]]:
    """The MachineDeployment classes of a class."""
    return list(((cluster_class.get("spec") or {}).get("workers") or {}).get("machineDeployments") or [])


def reference_key(reference: Mapping[str, Any], namespace: str) -> Key:
    """The key of what a reference in a class of ``namespace`` leads to."""
    group = str(reference.get("apiVersion", "")).rpartition("/")[0]
    where = reference.get("namespace") or namespace
    return Key(group, str(reference.get("kind", "")), where, str(reference.get("name", "")))


def pools_of(cluster: Object) -> list[dict[str, Any]]:
    """The entries of ``topology.workers.machineDeployments``."""
    return topology.pool_entries(cluster)


def of(objects: Iterable[Object], source: str = "") -> World:
    """A world of these objects. Raises BadInput where one comes twice."""
    found: dict[Key, Object] = {}
    for obj in objects:
        key = key_of(obj)
        if key in found:
            raise BadInput("an object is there twice", on=str(key), fix="leave one of them out")
        found[key] = clean(obj)
    return World(found, source=source)


def clean(obj: Object) -> Object:
    """``obj`` without what servers and controllers write, in its namespace."""
    metadata = obj.get("metadata") or {}
    kept = {key: metadata[key] for key in ("name", "labels", "annotations") if metadata.get(key)}
    whole = {key: value for key, value in obj.items() if key not in ("status", "metadata")}
    if obj.get("kind") == CLUSTERS.kind and isinstance(whole.get("spec"), dict):
        left_out = ("infrastructureRef", "controlPlaneRef", "controlPlaneEndpoint", "paused")
        whole["spec"] = {key: value for key, value in whole["spec"].items() if key not in left_out}
    return {**whole, "metadata": kept | {"namespace": metadata.get("namespace") or "default"}}


def over(old: Any, new: Any, last: Any = None) -> Any:
    """``new`` applied over ``old``; ``last`` is what the apply before had said."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    last = last if isinstance(last, dict) else {}
    merged = {key: value for key, value in old.items() if key in new or key not in last}
    for key, value in new.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = over(old[key], value, last.get(key)) if key in old else value
    return merged


def difference(old: Any, new: Any) -> Any:
    """The JSON merge patch that makes ``old`` into ``new``; lists are replaced."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif old[key] != value:
            patch[key] = difference(old[key], value)
    return patch


def changed(before: World, after: World) -> set[Key]:
    """The keys of what differs."""
    return {
        key
        for key in before.objects.keys() | after.objects.keys()
        if before.objects.get(key) != after.objects.get(key)
    }


def touched(before: World, after: World) -> list[Key]:
    """The clusters that a change can reach: changed themselves, or their class, or one of its templates."""
    different = changed(before, after)
    found = []
    for cluster in after.clusters:
        names = {key_of(cluster)}
        for world in (before, after):
            cluster_class = world.class_of(cluster)
            if cluster_class is not None:
                own = key_of(cluster_class)
                names |= {own} | {reference_key(ref, own.namespace) for _, ref in references(cluster_class)}
        if names & different:
            found.append(key_of(cluster))
    return found


def only(world: World, clusters: Iterable[Key]) -> World:
    """``world`` with these clusters and no others; classes and templates all stay."""
    kept = set(clusters)
    return replace(
        world,
        objects={
            key: obj
            for key, obj in world.objects.items()
            if key.kind != CLUSTERS.kind or key.group != CLUSTERS.group or key in kept
        },
    )


def size(world: World, cluster: Object) -> int:
    """How many machines a cluster has."""
    key = key_of(cluster)
    plane = (((cluster.get("spec") or {}).get("topology") or {}).get("controlPlane") or {}).get("replicas")
    return int(plane if plane is not None else 1) + sum(
        pool_size(world, PoolKey(key.namespace, key.name, entry["name"]), entry)
        for entry in pools_of(cluster)
    )


def pool_size(world: World, key: PoolKey, entry: Mapping[str, Any]) -> int:
    """How many machines a pool has: as the topology says, as it is live, or the least of its range."""
    if entry.get("replicas") is not None:
        return int(entry["replicas"])
    if key in world.replicas:
        return world.replicas[key]
    span = topology.scaled_range((entry.get("metadata") or {}).get("annotations") or {})
    return span[0] if span else 1


def version_of(cluster: Object) -> str:
    """The Kubernetes version of a cluster's topology."""
    return str(((cluster.get("spec") or {}).get("topology") or {}).get("version") or "")


def parse_version(text: str) -> versions.Version | None:
    """The version, or None where it is none."""
    try:
        return versions.parse(text)
    except ValueError:
        return None
