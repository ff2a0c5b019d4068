"""Our kinds, how they hang together, and the Node of a machine. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from capi_llm.contract.capi import KWOK_FINALIZER
from capi_llm.kube.resources import Object, Ref, Resource
from capi_llm.versions import GROUP

VERSION = "v1alpha1"
FINALIZER = KWOK_FINALIZER


def _kind(kind: str) -> Resource:
    # Cluster API derives the plural like this (util.PluralizeName), and takes no other.
    return Resource(GROUP, VERSION, f"{kind.lower()}s", kind)


KWOK_CLUSTERS = _kind("KwokCluster")
KWOK_CONTROL_PLANES = _kind("KwokControlPlane")
KWOK_MACHINES = _kind("KwokMachine")
OURS = (KWOK_CLUSTERS, KWOK_CONTROL_PLANES, KWOK_MACHINES)

CLUSTER_NAME = "cluster.x-k8s.io/cluster-name"
"""Label of everything that belongs to a Cluster."""

_CAPACITY = {"cpu": "4", "memory": "16Gi", "pods": "110", "ephemeral-storage": "100Gi"}
"""What a machine has where its template does not say it."""


def owner(obj: Object, kind: str) -> Mapping[str, Any] | None:
    """The owner of that kind, of Cluster API's core group."""
    for entry in obj["metadata"].get("ownerReferences") or ():
        if entry["kind"] == kind and entry["apiVersion"].startswith("cluster.x-k8s.io/"):
            found: Mapping[str, Any] = entry
            return found
    return None


def cluster_of(obj: Object) -> str:
    """The name of the Cluster that ``obj`` belongs to, empty where it does not say."""
    return str((obj["metadata"].get("labels") or {}).get(CLUSTER_NAME, ""))


def provider_id(machine: Ref) -> str:
    """The name of a machine for its Node and its Machine; autoscalers compare what follows the last ``/``."""
    return f"kwok://{machine.namespace}/{machine.name}"


def node(machine: Ref, spec: Mapping[str, Any], version: str, config: Object | None) -> Object:
    """The Node that the kubelet of ``machine`` would register.

    ``spec`` is the KwokMachine's, ``config`` its KubeadmConfig, for labels and taints.
    """
    join = (((config or {}).get("spec") or {}).get("joinConfiguration") or {}).get("nodeRegistration") or {}
    capacity = {**_CAPACITY, **{key: str(value) for key, value in (spec.get("capacity") or {}).items()}}
    taints = [
        {key: taint[key] for key in ("key", "value", "effect") if taint.get(key)}
        for taint in join.get("taints") or ()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": machine.name,
            "labels": {
                "kubernetes.io/hostname": machine.name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "type": "kwok",
                **dict(_labels(str((join.get("kubeletExtraArgs") or {}).get("node-labels", "")))),
            },
            "annotations": {f"{GROUP}/simulated": "by KWOK: nothing runs on this node"},
        },
        "spec": {"providerID": provider_id(machine)} | ({"taints": taints} if taints else {}),
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "kwok://simulated",
                "kernelVersion": "simulated",
                "kubeProxyVersion": version,
                "kubeletVersion": version,
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "simulated",
                "systemUUID": "",
            },
        },
    }


def _labels(text: str) -> Iterator[tuple[str, str]]:
    """The kubelet's ``--node-labels``: ``name=value,name=value``."""
    for entry in filter(None, text.split(",")):
        name, _, value = entry.partition("=")
        yield name, value
