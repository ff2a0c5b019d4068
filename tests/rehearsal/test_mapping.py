"""From real infrastructure to the in-memory one, and back in words."""

from __future__ import annotations

from typing import Any

from capi_llm.clusters import classes
from capi_llm.kube.resources import Object
from capi_llm.rehearsal import world
from capi_llm.rehearsal.mapping import Mapped, Mapping
from capi_llm.rehearsal.world import Key
from worlds import patch, ref, small_class, small_cluster, template

INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io"


def mapped(objects: list[Object]) -> tuple[Mapping, Mapped]:
    found = world.of(objects)
    mapping = Mapping([found])
    return mapping, mapping(found)


def the(done: Mapped, kind: str) -> list[Object]:
    return [obj for obj in done.objects.values() if obj["kind"] == kind]


def change_patches(objects: list[Object], *patches: Any) -> list[Object]:
    objects[-1]["spec"]["patches"] = list(patches)
    return objects


def test_templates_start_at_once_and_carry_what_they_were() -> None:
    _, done = mapped(small_class("n", machine={"customImage": "x"}))
    (machine,) = the(done, "DevMachineTemplate")
    spec = machine["spec"]["template"]["spec"]
    assert spec["original"] == {"DockerMachineTemplate": {"customImage": "x"}}
    assert set(spec["backend"]["inMemory"]) == {"vm", "node", "apiServer", "etcd"}
    (cluster,) = the(done, "DevClusterTemplate")
    assert cluster["spec"]["template"]["spec"] == {
        "backend": {"inMemory": {}},
        "original": {"DockerClusterTemplate": {}},
    }


def test_a_template_without_a_spec_carries_none_so_that_patches_fail_alike() -> None:
    objects = small_class("n")
    del objects[2]["spec"]["template"]["spec"]
    (machine,) = the(mapped(objects)[1], "DevMachineTemplate")
    assert "original" not in machine["spec"]["template"]["spec"]


def test_in_memory_templates_are_carried_too_and_lose_their_durations_only_to_the_sandbox() -> None:
    folder = next(item for item in classes.shipped() if item.name == "in-memory-llm-clusterclass")
    _, done = mapped(list(folder.objects))
    for machine in the(done, "DevMachineTemplate"):
        spec = machine["spec"]["template"]["spec"]
        carried = spec["original"]["DevMachineTemplate"]["backend"]["inMemory"]
        assert carried["vm"]["provisioning"]["startupDuration"] == "3s"
        assert spec["backend"]["inMemory"]["vm"]["provisioning"]["startupDuration"] == "0s"


def test_references_patches_and_templates_of_a_class_agree() -> None:
    folder = next(item for item in classes.shipped() if item.name == "docker-llm-clusterclass")
    _, done = mapped(list(folder.objects))
    (cluster_class,) = the(done, "ClusterClass")
    there = {world.key_of(obj) for obj in done.objects.values()}
    for _, reference in world.references(cluster_class):
        assert world.reference_key(reference, "default") in there
    paths = {
        operation["path"]
        for item in cluster_class["spec"]["patches"]
        for definition in item["definitions"]
        if definition["selector"]["kind"] == "DevMachineTemplate"
        for operation in definition["jsonPatches"]
    }
    start = "/spec/template/spec/original/DockerMachineTemplate/"
    assert paths == {f"{start}{word}" for word in ("customImage", "preLoadImages", "extraMounts")}


def test_kubeadm_is_verbatim() -> None:
    objects = small_class("n")
    _, done = mapped(objects)
    for number in (1, 3):
        key = world.key_of(objects[number])
        assert done.objects[key]["spec"] == objects[number]["spec"]


def test_patches_of_other_versions_and_metadata_stay() -> None:
    other = patch("p", "DockerMachineTemplate", "/spec/template/spec/x", value=1)
    other["definitions"][0]["selector"]["apiVersion"] = f"{INFRASTRUCTURE}/v1alpha4"
    labels = patch("q", "DockerMachineTemplate", "/spec/template/metadata/labels", value={})
    _, done = mapped(change_patches(small_class("n"), other, labels))
    first, second = the(done, "ClusterClass")[0]["spec"]["patches"]
    assert first == other
    assert second["definitions"][0]["jsonPatches"][0]["path"] == "/spec/template/metadata/labels"


def test_a_patch_of_one_kind_of_machine_does_not_reach_another() -> None:
    objects = small_class("n")
    aws = template("AWSMachineTemplate", "aws", "n", {"instanceType": "m5"})
    workers = objects[4]["spec"]["workers"]["machineDeployments"]
    workers.append({"class": "cloud", "template": {**workers[0]["template"], "infrastructure": ref(aws)}})
    both = {"controlPlane": True, "machineDeploymentClass": {"names": ["*"]}}
    docker = patch("d", "DockerMachineTemplate", "/spec/template/spec/customImage", match=both, value="x")
    cloud = patch("a", "AWSMachineTemplate", "/spec/template/spec/instanceType", match=dict(both), value="x")
    _, done = mapped([*change_patches(objects, docker, cloud), aws])
    first, second = (
        item["definitions"][0]["selector"]["matchResources"]
        for item in the(done, "ClusterClass")[0]["spec"]["patches"]
    )
    assert first == {"controlPlane": True, "machineDeploymentClass": {"names": ["worker"]}}
    assert second == {"machineDeploymentClass": {"names": ["cloud"]}}


def test_what_can_not_be_rehearsed_is_named() -> None:
    rke = small_class("rke")
    rke[4]["spec"]["controlPlane"]["ref"] = {
        "apiVersion": "controlplane.cluster.x-k8s.io/v1beta1",
        "kind": "RKE2ControlPlaneTemplate",
        "name": "x",
    }
    external = change_patches(small_class("ext"), {"name": "x", "external": {"generateExtension": "y"}})
    plain = small_cluster("plain")
    del plain["spec"]["topology"]
    pools = small_cluster("pools")
    pools["spec"]["topology"]["workers"]["machinePools"] = [{"class": "x", "name": "mp-0"}]
    everything = [*rke, small_cluster("rke"), *external, plain, *small_class("pools"), pools]
    _, done = mapped(everything)
    said = {finding.on: finding.why for finding in done.findings}
    assert "RKE2ControlPlaneTemplate" in said["ClusterClass rke/small"]
    assert "runtime extension" in said["ClusterClass ext/small"]
    assert "ClusterClass rke/small" in said["Cluster rke/c"]
    assert "not made from a ClusterClass" in said["Cluster plain/c"]
    assert "MachinePool mp-0" in said["Cluster pools/c"]
    assert {obj["metadata"]["namespace"] for obj in the(done, "Cluster")} == {"pools"}
    assert "machinePools" not in the(done, "Cluster")[0]["spec"]["topology"]["workers"]


def test_objects_of_other_kinds_are_left_out_and_named() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    _, done = mapped([*small_class("n"), config])
    assert Key("", "ConfigMap", "default", "x") not in done.objects
    assert [finding.on for finding in done.findings] == ["ConfigMap default/x"]


def test_messages_speak_of_the_real_objects() -> None:
    mapping, _ = mapped(small_class("n"))
    text = (
        'DevMachineTemplate "node-v1.dockermachinetemplate": '
        ".spec.template.spec.original.DockerMachineTemplate.noSuchField: field not declared in schema"
    )
    assert mapping.back(text) == (
        'DockerMachineTemplate "node-v1": .spec.template.spec.noSuchField: field not declared in schema'
    )
