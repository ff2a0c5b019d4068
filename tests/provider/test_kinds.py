"""The kinds of the KWOK provider: what Cluster API expects of them, and the Node of a machine."""

from __future__ import annotations

from capi_llm.clusters import classes
from capi_llm.kube.resources import Ref
from capi_llm.provider import manifests
from capi_llm.provider.kinds import KWOK_MACHINES, OURS, node, owner, provider_id

MACHINE = Ref(KWOK_MACHINES, "demo-md-0-abcde", "team")
CONFIG = {
    "spec": {
        "joinConfiguration": {
            "nodeRegistration": {
                "kubeletExtraArgs": {"node-labels": "capi-llm.dev/cni=calico,team=search,empty="},
                "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
                           {"key": "bare", "value": "", "effect": "NoExecute"}],
            }
        }
    }
}  # fmt: skip


def test_the_node_of_a_machine() -> None:
    made = node(MACHINE, {"capacity": {"cpu": 8, "nvidia.com/gpu": "1"}}, "v1.33.0", CONFIG)
    assert made["metadata"]["name"] == "demo-md-0-abcde"
    labels = made["metadata"]["labels"]
    assert (labels["team"], labels["empty"], labels["kubernetes.io/hostname"]) == ("search", "", MACHINE.name)
    assert made["spec"] == {
        "providerID": "kwok://team/demo-md-0-abcde",
        "taints": [
            {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
            {"key": "bare", "effect": "NoExecute"},
        ],
    }
    capacity = made["status"]["capacity"]
    assert (capacity["cpu"], capacity["nvidia.com/gpu"], capacity["pods"]) == ("8", "1", "110")
    assert made["status"]["allocatable"] == capacity
    assert made["status"]["nodeInfo"]["kubeletVersion"] == "v1.33.0"


def test_a_machine_without_configuration_is_a_plain_node() -> None:
    made = node(MACHINE, {}, "v1.33.0", None)
    assert made["spec"] == {"providerID": provider_id(MACHINE)}
    assert {"cpu", "memory", "pods"} <= made["status"]["capacity"].keys()


def test_owners_of_other_groups_do_not_count() -> None:
    entries = [
        {"kind": "Cluster", "apiVersion": "fleet.cattle.io/v1alpha1", "uid": "1"},
        {"kind": "Cluster", "apiVersion": "cluster.x-k8s.io/v1beta1", "uid": "2"},
    ]
    found = owner({"metadata": {"ownerReferences": entries}}, "Cluster")
    assert found is not None
    assert found["uid"] == "2"
    assert owner({"metadata": {"ownerReferences": entries[:1]}}, "Cluster") is None
    assert owner({"metadata": {}}, "Cluster") is None


def test_kinds_are_as_cluster_api_looks_for_them() -> None:
    crds = {obj["metadata"]["name"]: obj for obj in manifests.objects() if "names" in obj.get("spec", {})}
    assert len(crds) == 2 * len(OURS)
    for kind in OURS:
        for name, status in ((kind.kind, True), (f"{kind.kind}Template", False)):
            crd = crds[f"{name.lower()}s.capi-llm.dev"]
            assert crd["metadata"]["labels"]["cluster.x-k8s.io/v1beta1"] == kind.version
            assert crd["spec"]["names"]["kind"] == name
            assert ("subresources" in crd["spec"]["versions"][0]) == status


def test_the_shipped_class_has_no_machines_for_its_control_plane() -> None:
    folder = classes.shipped_class("kwok-llm-clusterclass")
    assert folder is not None
    body = next(obj for obj in folder.objects if obj["kind"] == "ClusterClass")["spec"]
    assert "machineInfrastructure" not in body["controlPlane"]
    info = classes.describe_folder(folder)
    assert info.worker_classes == ("default-worker", "gpu-worker")
