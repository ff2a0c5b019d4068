"""What single Cluster API objects say, over objects that Cluster API v1.10.7 wrote."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from capi_llm.contract import capi
from capi_llm.waiting import State

DATA = Path(__file__).parent.parent / "clusters" / "data"


def one(scenario: str, kind: str) -> dict[str, Any]:
    objects = yaml.load_all((DATA / f"{scenario}.yaml").read_text(), Loader=yaml.CSafeLoader)
    return next(obj for obj in objects if obj["kind"] == kind)


def old(obj: dict[str, Any]) -> dict[str, Any]:
    """The object without the new dialect, as Cluster API before 1.9 would have written it."""
    obj = copy.deepcopy(obj)
    obj["status"].pop("v1beta2")
    return obj


def newest(obj: dict[str, Any]) -> dict[str, Any]:
    """The object as API version v1beta2 shows it."""
    obj = copy.deepcopy(obj)
    group = obj["apiVersion"].split("/")[0]
    obj["apiVersion"] = f"{group}/v1beta2"
    status = obj["status"]
    before = {key: status[key] for key in ("conditions",) if key in status}
    obj["status"] = {**status, **status.pop("v1beta2"), "deprecated": {"v1beta1": before}}
    obj["status"].pop("v1beta2", None)
    return obj


READERS = {
    "Cluster": capi.cluster,
    "KubeadmControlPlane": capi.control_plane,
    "MachineDeployment": capi.machine_deployment,
    "Machine": capi.machine,
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("dialect", [lambda obj: obj, old, newest], ids=["v1beta1", "old", "v1beta2"])
def test_ready_in_every_dialect(kind: str, dialect: Any) -> None:
    assert READERS[kind](dialect(one("ready", kind))).ready


@pytest.mark.parametrize("kind", ["Cluster", "KubeadmControlPlane", "Machine"])
@pytest.mark.parametrize("dialect", [lambda obj: obj, old, newest], ids=["v1beta1", "old", "v1beta2"])
def test_starting_in_every_dialect(kind: str, dialect: Any) -> None:
    status = READERS[kind](dialect(one("starting", kind)))
    assert status.state is State.PENDING
    assert status.message


def test_unreachable_docker_is_the_message() -> None:
    status = capi.infrastructure(one("no-docker", "Cluster"))
    assert "Cannot connect to the Docker daemon" in status.message


def test_missing_class_is_told_by_the_topology() -> None:
    status = capi.cluster(one("no-class", "Cluster"))
    assert 'ClusterClass.cluster.x-k8s.io "nope-llm-clusterclass" not found' in status.message
    assert "ClusterClass" in status.cause
    assert not capi.topology_waits(one("no-class", "Cluster"))


def test_ready_before_a_change_is_not_ready_after_it() -> None:
    changed = one("changed", "Cluster")
    assert changed["status"]["v1beta2"]["conditions"], "it looks ready"
    assert not capi.cluster(changed).ready
    assert capi.topology_waits(changed)


def test_a_condition_that_is_written_once_may_be_old() -> None:
    cluster = one("ready", "Cluster")
    for condition in cluster["status"]["v1beta2"]["conditions"]:
        if condition["type"] == "ControlPlaneInitialized":
            condition["observedGeneration"] = 1
    assert cluster["metadata"]["generation"] > 1
    assert capi.cluster(cluster).ready


def test_control_plane_machine_does_not_wait_for_itself() -> None:
    objects = yaml.load_all((DATA / "api-server.yaml").read_text(), Loader=yaml.CSafeLoader)
    machine = next(
        obj
        for obj in objects
        if obj["kind"] == "Machine" and capi.CONTROL_PLANE_MACHINE in obj["metadata"]["labels"]
    )
    assert capi.machine(machine).message == "its API server has not answered yet"


def test_upgrade_waits_for_machines_and_is_no_topology_problem() -> None:
    assert capi.topology_waits(one("upgrading", "Cluster"))
    status = capi.control_plane(one("upgrading", "KubeadmControlPlane"))
    assert status.message.startswith("Scaling down from 2 to 1 replicas is blocked because: ")


def test_paused_and_failed() -> None:
    cluster = one("ready", "Cluster")
    cluster["spec"]["paused"] = True
    assert "paused" in capi.cluster(cluster).message
    cluster = one("ready", "Cluster")
    cluster["status"]["failureMessage"] = "the cloud said no"
    assert capi.cluster(cluster).failed
    assert "the cloud said no" in capi.cluster(cluster).message


def test_deletion_names_the_holder() -> None:
    status = capi.cluster(one("deleting", "Cluster"))
    assert "is being deleted" in status.message
    assert "cluster.cluster.x-k8s.io (the Cluster API core controller)" in status.cause
    assert capi.phase(one("deleting", "Cluster")) == "Deleting"


@pytest.mark.parametrize(
    ("finalizer", "holder"),
    [
        ("kubeadm.controlplane.cluster.x-k8s.io", "the kubeadm control plane controller"),
        ("dockermachine.infrastructure.cluster.x-k8s.io", "the infrastructure provider"),
        ("capicluster.turtles.cattle.io", "Rancher Turtles"),
        ("wrangler.cattle.io/x", "whoever owns wrangler.cattle.io/x"),
        ("controller.cattle.io", "Rancher"),
        ("foregroundDeletion", "Kubernetes' garbage collector"),
        ("example.com/mine", "whoever owns example.com/mine"),
    ],
)
def test_holders_of_finalizers(finalizer: str, holder: str) -> None:
    assert capi.holder(finalizer) == holder


def test_cluster_class() -> None:
    obj: dict[str, Any] = {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "ClusterClass",
        "metadata": {"name": "c", "generation": 1},
        "spec": {"variables": [{"name": "a", "required": True, "schema": {}}]},
    }
    assert not capi.cluster_class(obj).ready
    good = [{"type": kind, "status": "True"} for kind in ("VariablesReady", "RefVersionsUpToDate")]
    definition = {"from": "ext", "required": False, "schema": {"openAPIV3Schema": {"type": "string"}}}
    obj["status"] = {
        "observedGeneration": 1,
        "v1beta2": {"conditions": good},
        "variables": [{"name": "b", "definitions": [definition]}],
    }
    assert capi.cluster_class(obj).ready
    assert set(capi.variable_definitions(obj)) == {"a", "b"}
