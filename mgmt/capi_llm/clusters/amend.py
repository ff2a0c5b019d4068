"""A ClusterSpec over a Cluster that is there: the object as all the commands together would make it. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from capi_llm.clusters.spec import ClusterSpec
from capi_llm.clusters.topology import kubernetes_label, pool_entries, pool_entry, pool_of, spec_of
from capi_llm.kube.resources import Object


def patch(cluster: Object, want: ClusterSpec) -> Object:
    """The JSON merge patch that gives ``cluster`` what was said in ``want``, and nothing else.

    What differs is what :func:`~capi_llm.clusters.difference.differences` names.
    """
    have, given = spec_of(cluster), want.given
    topology: dict[str, Any] = {}
    labels = dict(want.labels)
    if "cluster_class" in given and want.cluster_class != have.cluster_class:
        namespace, _, name = want.cluster_class.rpartition("/")
        topology["class"] = name
        if namespace:
            topology["classNamespace"] = namespace
    if "version" in given:
        topology["version"] = want.version
        if want.version != have.version:
            labels = kubernetes_label(have.labels, have.version, want.version) | labels
    if "control_plane" in given:
        topology["controlPlane"] = {"replicas": want.control_plane}
    entries = _entries(cluster, want)
    if entries != pool_entries(cluster):
        topology["workers"] = {"machineDeployments": entries}
    if want.variables:
        topology["variables"] = _variables(have, want)
    network: dict[str, Any] = {}
    if "pods" in given:
        network["pods"] = {"cidrBlocks": [want.pods]}
    if "services" in given:
        network["services"] = {"cidrBlocks": [want.services]}
    if "service_domain" in given:
        network["serviceDomain"] = want.service_domain
    spec = {"topology": topology} | ({"clusterNetwork": network} if network else {})
    return {"metadata": {"labels": labels}, "spec": spec}


def _entries(cluster: Object, want: ClusterSpec) -> list[dict[str, Any]]:
    given, first = want.given, want.pools[0].name
    entries = {entry["name"]: entry for entry in pool_entries(cluster)}
    for pool in want.pools:
        asked = f"pools.{pool.name}" in given or (pool.name == first and "workers" in given)
        entry = entries.get(pool.name)
        if entry is None:
            if asked:
                entries[pool.name] = pool_entry(pool)
            continue
        new = pool_of(entry)
        if asked:
            new = replace(new, minimum=pool.minimum, maximum=pool.maximum, fixed=pool.fixed)
        if f"pools.{pool.name}.class" in given:
            new = replace(new, worker_class=pool.worker_class)
        for word in ("cpu", "memory"):
            if word in given or f"pools.{pool.name}.{word}" in given:
                new = replace(new, **{word: getattr(pool, word)})
        if new != pool_of(entry):
            entries[pool.name] = pool_entry(new, entry)
    if "pools" in given:
        entries = {name: entry for name, entry in entries.items() if want.pool(name) is not None}
    return list(entries.values())


def _variables(have: ClusterSpec, want: ClusterSpec) -> list[dict[str, Any]]:
    # A merge patch replaces a list, so all of it has to be there.
    whole = dict(have.variables)
    for name, value in want.variables.items():
        now = whole.get(name)
        whole[name] = {**now, **value} if isinstance(now, dict) and isinstance(value, dict) else value
    return [{"name": name, "value": value} for name, value in whole.items()]
