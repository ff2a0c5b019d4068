"""What is wrong with a change, found without running it. Pure and quick.

Only what Cluster API's webhooks in the sandbox would not see as it is in reality, or would
see only after a sandbox was made.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from capi_llm import versions
from capi_llm.clusters import skew
from capi_llm.clusters.topology import MAX_SIZE, MIN_SIZE, scaled_range
from capi_llm.errors import Refused
from capi_llm.kube.resources import Object
from capi_llm.rehearsal import mapping
from capi_llm.rehearsal.findings import Finding
from capi_llm.rehearsal.world import (
    Key,
    PoolKey,
    World,
    key_of,
    parse_version,
    pools_of,
    references,
    version_of,
    worker_classes,
)

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def check(
    before: World,
    after: World,
    clusters: Iterable[Key],
    *,
    networks: Sequence[str] = (),
    distinct: bool = False,
) -> list[Finding]:
    """All findings on ``clusters`` and on the classes and templates of ``after``.

    ``networks`` (CIDRs, such as the host's) must not overlap with a cluster's; with ``distinct``,
    neither must those of two clusters.
    """
    found = [*_missing(before, after), *_kinds(before, after), *_changed_templates(before, after)]
    chosen = [after.objects[key] for key in clusters if key in after.objects]
    for cluster in chosen:
        found += _autoscaler(after, cluster)
        found += _versions(before.objects.get(key_of(cluster)), cluster)
        found += _own_networks(cluster)
        found += _foreign_networks(cluster, networks)
        if distinct:
            found += _other_clusters(cluster, after.clusters)
    return found


def _missing(before: World, after: World) -> Iterator[Finding]:
    known = {(key_of(item), key) for item, _, key in mapping.missing(before)}
    for cluster_class, place, key in mapping.missing(after):
        if (key_of(cluster_class), key) not in known:
            yield Finding(
                "error", "missing-template", str(key_of(cluster_class)),
                f"{place} is {key}, which is not there",
                fix="add it to the files of the change",
            )  # fmt: skip


def _kinds(before: World, after: World) -> Iterator[Finding]:
    """What Cluster API refuses and the sandbox, where all infrastructure has one kind, would not."""
    pairs = [(before.objects.get(key_of(item)), item, str(key_of(item))) for item in after.classes]
    for cluster in after.clusters:
        old = before.objects.get(key_of(cluster))
        if old is not None:
            pairs.append((before.class_of(old), after.class_of(cluster), str(key_of(cluster))))  # type: ignore[arg-type]
    seen = set()
    for one, other, on in pairs:
        if one is None or other is None:
            continue
        there = dict(references(one))
        for place, reference in references(other):
            kinds = [_kind(there[place]), _kind(reference)] if place in there else []
            if len(set(kinds)) == 2 and (place, *kinds) not in seen:
                seen.add((place, *kinds))
                yield Finding(
                    "error", "kind-changed", on, f"{place}: {kinds[0]} can not become {kinds[1]}",
                    "Cluster API refuses to change the kind of a template of existing clusters",
                    "make a new class under another name, and new clusters from it",
                )  # fmt: skip


def _changed_templates(before: World, after: World) -> Iterator[Finding]:
    for key, obj in after.objects.items():
        old = before.objects.get(key)
        if old is None or not immutable(key, after):
            continue
        if _template_spec(old) != _template_spec(obj):
            yield Finding(
                "error", "template-changed", str(key), "its spec is changed under the same name",
                "infrastructure providers refuse that: templates are immutable",
                f"give it a new name, such as {_next(key.name)}, and refer to that in the ClusterClass",
            )  # fmt: skip


def immutable(key: Key, world: World) -> bool:
    """Whether the object is an infrastructure template of a class of ``world``."""
    kinds = {
        _kind(reference)
        for item in world.classes
        for place, reference in references(item)
        if "infrastructure" in place or place == "control plane machines"
    }
    return f"{key.group}/{key.kind}" in kinds


def _autoscaler(world: World, cluster: Object) -> Iterator[Finding]:
    key = key_of(cluster)
    for entry in pools_of(cluster):
        on = f"{key}, pool {entry['name']}"
        own: Mapping[str, str] = (entry.get("metadata") or {}).get("annotations") or {}
        annotations = {**_class_annotations(world, cluster, entry), **own}
        if not {MIN_SIZE, MAX_SIZE} & annotations.keys():
            continue
        span = scaled_range(annotations)
        if span is None or span[0] > span[1]:
            words = f"{annotations.get(MIN_SIZE, 'none')}..{annotations.get(MAX_SIZE, 'none')}"
            yield Finding(
                "error", "autoscaler-range", on, f"the autoscaler's range {words} is none",
                "it takes two numbers, the smaller one first", f"set {MIN_SIZE} and {MAX_SIZE}",
            )  # fmt: skip
            continue
        text = f"{span[0]}..{span[1]}"
        replicas = entry.get("replicas")
        if replicas is not None:
            outside = "" if span[0] <= int(replicas) <= span[1] else ", and outside of it"
            yield Finding(
                "error", "autoscaler-fights-replicas", on,
                f"replicas {replicas} is set beside the autoscaler's range {text}{outside}",
                "the topology would write its number over the autoscaler's at every turn",
                "leave replicas out of the topology, or take both annotations away",
            )  # fmt: skip
            continue
        live = world.replicas.get(PoolKey(key.namespace, key.name, entry["name"]))
        if live is not None and not span[0] <= live <= span[1]:
            yield Finding(
                "warning", "replicas-outside-range", on, f"has {live} machines, its new range is {text}",
                "an autoscaler does not always bring a pool back into its range by itself",
                f"capi-llm scale {key.name} --workers {text} --pool {entry['name']}",
            )  # fmt: skip


def _class_annotations(world: World, cluster: Object, entry: Mapping[str, Any]) -> Mapping[str, str]:
    cluster_class = world.class_of(cluster)
    for item in worker_classes(cluster_class) if cluster_class else ():
        if item.get("class") == entry.get("class"):
            found: Mapping[str, str] = ((item.get("template") or {}).get("metadata") or {}).get(
                "annotations"
            ) or {}
            return found
    return {}


def _versions(old: Object | None, cluster: Object) -> Iterator[Finding]:
    on, text = str(key_of(cluster)), version_of(cluster)
    have = parse_version(version_of(old)) if old is not None else None
    want = parse_version(text)
    if want is None:
        if (cluster.get("spec") or {}).get("topology"):
            yield Finding(
                "error", "version-skew", on, f"version {text!r} is none", fix="use one such as v1.33.0"
            )
        return
    if have == want:
        return
    low, high = versions.WORKLOAD_MINORS
    if want.major != 1 or not low <= want.minor <= high:
        yield Finding(
            "error", "version-skew", on, f"Kubernetes {want} is not supported",
            f"Cluster API {versions.CLUSTER_API} supports v1.{low} to v1.{high}",
            f"choose a version of v1.{high} or below",
        )  # fmt: skip
    if have is None:
        return
    metadata = cluster["metadata"]
    try:
        skew.check_step(str(have), text, metadata["name"], metadata.get("namespace") or "default")
    except Refused as refusal:
        yield Finding("error", "version-skew", on, refusal.what, refusal.why, refusal.fix)


def _own_networks(cluster: Object) -> Iterator[Finding]:
    networks = _networks(cluster)
    for pods in networks.get("pods", ()):
        for services in networks.get("services", ()):
            if _overlap(pods, services):
                yield _overlapping(
                    cluster, f"pods {pods} and services {services} overlap",
                    "an address could be a pod's and a Service's at once",
                )  # fmt: skip


def _foreign_networks(cluster: Object, others: Sequence[str]) -> Iterator[Finding]:
    for text in others:
        for word, networks in _networks(cluster).items():
            for network in networks:
                if _overlap(network, ipaddress.ip_network(text, strict=False)):
                    yield _overlapping(
                        cluster, f"{word} {network} overlaps with {text}",
                        "pods could not reach what is there",
                    )  # fmt: skip


def _other_clusters(cluster: Object, clusters: Iterable[Object]) -> Iterator[Finding]:
    own = key_of(cluster)
    for other in clusters:
        if key_of(other) == own:
            continue
        for word, networks in _networks(cluster).items():
            for theirs, foreign in _networks(other).items():
                for one in networks:
                    if any(_overlap(one, two) for two in foreign):
                        yield _overlapping(
                            cluster, f"{word} {one} overlaps with {theirs} of {key_of(other)}",
                            "the clusters' networks were said to be distinct",
                        )  # fmt: skip


def _overlapping(cluster: Object, what: str, why: str) -> Finding:
    fix = "choose another network; a cluster's networks can not be changed later"
    return Finding("error", "network-overlap", str(key_of(cluster)), what, why, fix)


def _networks(cluster: Object) -> dict[str, list[_Network]]:
    network = (cluster.get("spec") or {}).get("clusterNetwork") or {}
    found: dict[str, list[_Network]] = {}
    for word in ("pods", "services"):
        found[word] = []
        for text in (network.get(word) or {}).get("cidrBlocks") or []:
            try:
                found[word].append(ipaddress.ip_network(text, strict=False))
            except ValueError:
                continue  # the webhook refuses it in its own words
    return found


def _overlap(one: _Network, other: _Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _kind(reference: Mapping[str, Any]) -> str:
    group = str(reference.get("apiVersion", "")).rpartition("/")[0]
    return f"{group}/{reference.get('kind', '')}"


def _template_spec(obj: Object) -> Any:
    return ((obj.get("spec") or {}).get("template") or {}).get("spec")


def _next(name: str) -> str:
    head, dash, tail = name.rpartition("-v")
    return f"{head}-v{int(tail) + 1}" if dash and tail.isdigit() else f"{name}-v2"
