"""The tree's verdict and root cause, over objects that Cluster API v1.10.7 wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from capi_llm.clusters import tree
from capi_llm.clusters.tree import ClusterView, Objects
from capi_llm.waiting import State

Scenario = Callable[[str], Objects]


def only(objects: Objects) -> ClusterView:
    (view,) = tree.overview(objects)
    assert tree.find(objects, view.name, view.namespace) == view
    return view


def test_ready(scenario: Scenario) -> None:
    view = only(scenario("ready"))
    assert view.status.ready
    assert tree.as_json(view) == {
        "name": "up",
        "namespace": "default",
        "class": "in-memory-llm-clusterclass",
        "version": "v1.32.0",
        "ready": True,
        "phase": "Provisioned",
        "control_plane": {"desired": 1, "ready": 1},
        "workers": [{"name": "md-0", "min": 1, "max": 3, "desired": 1, "ready": 1}],
        "message": "",
        "simulated": "",
    }
    lines = tree.nodes(view)
    assert [child.label for child in lines.children] == [
        "Infrastructure",
        "Control plane 1/1",
        "Pool md-0 1/1 (1..3)",
    ]
    assert all(child.status.ready for child in lines.children)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("starting", "control plane: machine up-ts5kt-kg6lt: VMProvisioned: WaitingForStartupTimeout"),
        ("api-server", "control plane: machine up-ts5kt-kg6lt: its API server has not answered yet"),
        ("workers", "pool md-0: machine up-md-0-lf967-6mfmm-flb4p: VMProvisioned: WaitingForStartupTimeout"),
        ("changed", "the newest change of the topology is not reconciled yet"),
        ("upgrading", "control plane: machine up-ts5kt-gctff: VMProvisioned: WaitingForStartupTimeout"),
    ],
)
def test_root_cause(scenario: Scenario, name: str, message: str) -> None:
    view = only(scenario(name))
    assert view.status.state is State.PENDING
    assert view.status.message == message
    assert not tree.as_json(view)["ready"]


def test_docker_that_does_not_answer(scenario: Scenario) -> None:
    view = only(scenario("no-docker"))
    assert view.status.message.startswith("infrastructure: LoadBalancerAvailable: ")
    assert "Cannot connect to the Docker daemon" in view.status.message
    assert [pool.status.message for pool in view.pools] == ["waits for the control plane"] * 2
    assert [(pool.name, pool.minimum, pool.maximum) for pool in view.pools] == [("md-0", 1, 3), ("gpu", 1, 1)]


def test_class_that_is_missing(scenario: Scenario) -> None:
    view = only(scenario("no-class"))
    assert "nope-llm-clusterclass" in view.status.message
    assert view.phase == "Pending"
    assert view.control_plane.status.message == "is not created yet"


def test_deleting(scenario: Scenario) -> None:
    view = only(scenario("deleting"))
    assert view.phase == "Deleting"
    assert "is being deleted" in view.status.message
    assert "core controller" in view.status.cause


def test_cluster_api_is_ready_before_the_workers_are(scenario: Scenario) -> None:
    objects = scenario("workers")
    (cluster,) = objects.clusters
    old = {entry["type"]: entry["status"] for entry in cluster["status"]["conditions"]}
    assert old["Ready"] == "True"
    assert not only(objects).status.ready


def test_machines_that_the_conditions_do_not_know_of_yet(scenario: Scenario) -> None:
    """A pool was scaled: the Cluster's conditions still say that all is well."""
    objects = scenario("ready")
    (deployment,) = objects.machine_deployments
    deployment["spec"]["replicas"] = 2
    view = only(objects)
    assert view.status.message == "pool md-0: 1 of 2 machines exist"
    deployment["metadata"]["generation"] += 1
    assert "not seen by the controller" in only(objects).status.message


def test_pool_outside_of_its_range(scenario: Scenario) -> None:
    objects = scenario("ready")
    entry = objects.clusters[0]["spec"]["topology"]["workers"]["machineDeployments"][0]
    entry["metadata"]["annotations"] = {
        "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size": "2",
        "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size": "4",
    }
    view = only(objects)
    assert view.status.message == "pool md-0: wants 1 machines, its range is 2..4"
    assert view.status.fix == "capi-llm scale up --workers 2..4 --pool md-0"


def test_pool_that_is_missing_and_one_too_many(scenario: Scenario) -> None:
    objects = scenario("ready")
    entries = objects.clusters[0]["spec"]["topology"]["workers"]["machineDeployments"]
    entries[0] = {"name": "new", "class": "default-worker", "replicas": 2}
    view = only(objects)
    assert [(pool.name, pool.status.message) for pool in view.pools] == [
        ("new", "is not created yet"),
        ("md-0", "is being removed"),
    ]
    assert (view.pools[0].minimum, view.pools[0].count.desired) == (2, 2)


def test_control_plane_of_a_kind_that_nobody_reads(scenario: Scenario) -> None:
    objects = replace(scenario("ready"), control_planes=())
    view = only(objects)
    assert view.status.ready
    assert view.control_plane.kind == "KubeadmControlPlane"
    assert view.control_plane.count.ready == 1


def test_cluster_without_a_topology(scenario: Scenario) -> None:
    objects = scenario("ready")
    del objects.clusters[0]["spec"]["topology"]
    view = only(objects)
    assert view.status.ready
    assert view.cluster_class == ""
    assert [pool.name for pool in view.pools] == ["md-0"]


def test_failed_for_good_wins(scenario: Scenario) -> None:
    objects = scenario("starting")
    objects.clusters[0]["status"]["failureMessage"] = "the cloud said no"
    assert only(objects).status.failed


def test_clusters_do_not_mix(scenario: Scenario) -> None:
    one, other = scenario("ready"), scenario("no-docker")
    both = Objects(
        [*one.clusters, *other.clusters],
        [*one.control_planes, *other.control_planes],
        [*one.machine_deployments, *other.machine_deployments],
        [*one.machines, *other.machines],
    )
    views = tree.overview(both)
    assert [view.name for view in views] == ["full", "up"]
    assert views[1] == only(one)
    assert tree.find(both, "up", "elsewhere") is None


def test_nothing() -> None:
    assert tree.overview(Objects()) == []
