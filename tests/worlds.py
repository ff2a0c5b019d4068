"""Small classes and clusters for rehearsals, each in a namespace of its own."""

from __future__ import annotations

from typing import Any

from capi_llm.kube.resources import Object

INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io/v1beta1"


def template(kind: str, name: str, namespace: str, spec: Any) -> Object:
    group = {"KubeadmControlPlaneTemplate": "controlplane", "KubeadmConfigTemplate": "bootstrap"}
    return {
        "apiVersion": f"{group.get(kind, 'infrastructure')}.cluster.x-k8s.io/v1beta1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": {"spec": spec}},
    }


def ref(obj: Object) -> Object:
    return {"ref": {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"]}}


def small_class(
    namespace: str,
    *,
    machine: Any = None,
    machine_name: str = "node-v1",
    config: Any = None,
    variables: list[Any] | None = None,
    patches: list[Any] | None = None,
    annotations: dict[str, str] | None = None,
) -> list[Object]:
    """The class ``small`` of Docker machines, one worker class ``worker``, and its templates."""
    cluster = template("DockerClusterTemplate", "cluster", namespace, {})
    plane = template("KubeadmControlPlaneTemplate", "plane", namespace, {"kubeadmConfigSpec": {
        "clusterConfiguration": {}, "initConfiguration": {"nodeRegistration": {}},
        "joinConfiguration": {"nodeRegistration": {}}}})  # fmt: skip
    node = template("DockerMachineTemplate", machine_name, namespace, machine or {})
    worker = template("KubeadmConfigTemplate", "worker", namespace, config or
                      {"joinConfiguration": {"nodeRegistration": {}}})  # fmt: skip
    cluster_class = {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "ClusterClass",
        "metadata": {"name": "small", "namespace": namespace},
        "spec": {
            "infrastructure": ref(cluster),
            "controlPlane": {**ref(plane), "machineInfrastructure": ref(node)},
            "workers": {
                "machineDeployments": [
                    {
                        "class": "worker",
                        "template": {
                            "metadata": {"annotations": annotations or {}},
                            "bootstrap": ref(worker),
                            "infrastructure": ref(node),
                        },
                    }
                ]
            },
            "variables": variables or [],
            "patches": patches or [],
        },
    }
    return [cluster, plane, node, worker, cluster_class]


def small_cluster(namespace: str, *, version: str = "v1.32.0", pools: list[Any] | None = None,
                  **topology: Any) -> Object:  # fmt: skip
    """The cluster ``c`` of class ``small``: one control-plane machine and, without ``pools``, one worker."""
    return {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "Cluster",
        "metadata": {"name": "c", "namespace": namespace},
        "spec": {
            "clusterNetwork": {
                "pods": {"cidrBlocks": ["192.168.0.0/16"]},
                "services": {"cidrBlocks": ["10.96.0.0/24"]},
            },
            "topology": {
                "class": "small",
                "version": version,
                "controlPlane": {"replicas": 1},
                "workers": {"machineDeployments": pools if pools is not None else [pool("md-0", 1)]},
                **topology,
            },
        },
    }


def pool(
    name: str, replicas: int | None = None, *, span: tuple[int, int] | None = None, **more: Any
) -> Object:
    entry: Object = {"class": "worker", "name": name, **more}
    if replicas is not None:
        entry["replicas"] = replicas
    if span is not None:
        prefix = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-"
        entry["metadata"] = {
            "annotations": {f"{prefix}min-size": str(span[0]), f"{prefix}max-size": str(span[1])}
        }
    return entry


def patch(name: str, kind: str, path: str, *, match: Any = None, **value: Any) -> Object:
    """A patch that adds ``value`` (``value=``, ``variable=`` or ``template=``) at ``path``."""
    given = {"value": value["value"]} if "value" in value else {"valueFrom": value}
    api = template(kind, "", "", {})["apiVersion"]
    where = match or (
        {"controlPlane": True}
        if kind == "KubeadmControlPlaneTemplate"
        else {"machineDeploymentClass": {"names": ["worker"]}}
    )
    return {
        "name": name,
        "definitions": [
            {
                "selector": {"apiVersion": api, "kind": kind, "matchResources": where},
                "jsonPatches": [{"op": "add", "path": path, **given}],
            }
        ],
    }


def variable(name: str, *, required: bool = False, **schema: Any) -> Object:
    return {"name": name, "required": required, "schema": {"openAPIV3Schema": {"type": "string", **schema}}}
