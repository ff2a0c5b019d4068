"""What stands for a cluster in Rancher and in Fleet: each state on the way, each way to be stuck.

Rancher and Turtles are played: their objects are written by the test through a real API server, with
the conditions that their sources write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from standin_charts import crd
from standin_rancher import condition, installed, now, objects, rancher_kinds, setting, upstream_kinds

from capi_llm.apps import imported
from capi_llm.apps.fleet.kinds import FLEET_CLUSTERS
from capi_llm.clusters.view import Node
from capi_llm.contract import rancher as contract
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import (
    CAPI_PROVIDERS,
    CLUSTERS,
    NAMESPACES,
    RANCHER_CLUSTERS,
    Object,
    Ref,
)

URL = "https://rancher.example.com"


@pytest.fixture
def plane(api: Api, own: str) -> Iterator[str]:
    """Rancher, Turtles and Fleet as kinds, with Rancher's settings as bootstrap leaves them."""
    kinds = [*rancher_kinds(), *upstream_kinds("turtles", "fleet")]
    kinds += objects(crd("cluster.x-k8s.io", "clusters", "Cluster", version="v1beta1"))
    group, config = "addons.cluster.x-k8s.io", "FleetAddonConfig"
    kinds += objects(crd(group, "fleetaddonconfigs", config, version="v1alpha1", scope="Cluster"))
    apply(api, kinds, manager="test")
    settings = {"server-url": URL, "agent-tls-mode": "system-store", "cacerts": ""}
    apply(api, [setting(name, value) for name, value in settings.items()], manager="test")
    yield own
    for kind in (CAPI_PROVIDERS, RANCHER_CLUSTERS, imported.CONFIGS):
        for obj in api.list(kind):
            api.delete(kind.ref(obj))


def cluster(api: Api, namespace: str, **metadata: Any) -> Object:
    made = api.create(
        CLUSTERS, {"metadata": {"name": "demo", "namespace": namespace, **metadata}, "spec": {}}
    )
    return api.merge_patch(
        CLUSTERS.ref(made), {"status": {"conditions": [condition("ControlPlaneReady")]}}, subresource="status"
    )


def nodes(api: Api, namespace: str) -> dict[str, Node]:
    found = imported.collect(api).nodes(api.get(Ref(CLUSTERS, "demo", namespace)))
    return {node.label: node for node in found}


def label(api: Api, namespace: str, value: str | None = "true") -> None:
    api.merge_patch(Ref(NAMESPACES, namespace), {"metadata": {"labels": {contract.AUTO_IMPORT: value}}})


def test_what_keeps_turtles_from_importing(api: Api, plane: str) -> None:
    made = cluster(api, plane)
    status = nodes(api, plane)["Rancher"].status
    assert (status.failed, status.message) == (True, "Rancher does not import it")
    assert status.fix == f"kubectl label namespace {plane} cluster-api.cattle.io/rancher-auto-import=true"
    label(api, plane)
    status = nodes(api, plane)["Rancher"].status
    assert "Turtles has not begun to import it" in status.message
    assert "rancher-turtles-controller-manager" in status.fix

    # The cluster's own label wins over its namespace's.
    ref = CLUSTERS.ref(made)
    api.merge_patch(ref, {"metadata": {"labels": {contract.AUTO_IMPORT: "false"}}})
    assert nodes(api, plane)["Rancher"].status.failed
    api.merge_patch(ref, {"metadata": {"labels": {contract.AUTO_IMPORT: None}}})

    # Deleted in Rancher before: it is not imported again by itself.
    api.merge_patch(ref, {"metadata": {"annotations": {"imported": "true"}}})
    status = nodes(api, plane)["Rancher"].status
    assert (status.failed, status.fix) == (
        True,
        f"kubectl annotate clusters.cluster.x-k8s.io -n {plane} demo imported-",
    )
    api.merge_patch(ref, {"metadata": {"annotations": {"imported": None}}})

    # Strict agents and no authority to tell them.
    apply(api, [setting("agent-tls-mode", "strict")], manager="test")
    status = nodes(api, plane)["Rancher"].status
    assert "ca-certs setting value is empty" in status.message
    assert "system-store" in status.fix
    apply(api, [setting("server-url", "")], manager="test")
    assert "no server-url" in nodes(api, plane)["Rancher"].status.message

    not_ready = {"status": {"conditions": [condition("ControlPlaneReady", "False")]}}
    api.merge_patch(ref, not_ready, subresource="status")
    assert "when its control plane is ready" in nodes(api, plane)["Rancher"].status.message


def test_an_import_from_its_first_object_to_ready(api: Api, plane: str) -> None:
    cluster(api, plane)
    label(api, plane)
    labels = {contract.OWNED: "", contract.OWNER: "demo", contract.OWNER_NAMESPACE: plane}
    managed = {"metadata": {"name": "c-12345", "labels": labels}, "spec": {"displayName": "demo"}}
    # One that only has the same display name is another cluster.
    api.create(RANCHER_CLUSTERS, {"metadata": {"name": "c-99999"}, "spec": {"displayName": "demo"}})
    api.create(RANCHER_CLUSTERS, managed)
    assert "c-12345: waiting for its agent to connect" in _managed(api, plane)
    waits = condition("Waiting", "Unknown", message="Waiting for API to be available")
    assert "Waiting for API to be available" in _managed(api, plane, waits)
    assert "cattle-cluster-agent" in nodes(api, plane)["Rancher"].status.fix
    assert URL in nodes(api, plane)["Rancher"].status.fix
    connected = condition("Connected")
    assert "AgentDeployed is not true yet" in _managed(api, plane, connected)
    deployed = condition("AgentDeployed")
    assert "Ready is not true yet" in _managed(api, plane, connected, deployed)
    assert nodes(api, plane)["Rancher"].status.state == "Pending"
    assert "is connected and ready" in _managed(api, plane, connected, deployed, condition("Ready"))
    assert nodes(api, plane)["Rancher"].status.ready

    # The tunnel drops: known to have been there, so not an import that never worked.
    away = condition("Connected", "False", "Disconnected", "Cluster agent is not connected")
    assert "Cluster agent is not connected" in _managed(api, plane, condition("Provisioned"), away)
    assert nodes(api, plane)["Rancher"].status.cause == "the agent was there and is away"


def _managed(api: Api, namespace: str, *conditions: Object) -> str:
    ref = Ref(RANCHER_CLUSTERS, "c-12345")
    api.merge_patch(ref, {"status": {"conditions": list(conditions)}}, subresource="status")
    return nodes(api, namespace)["Rancher"].status.message


def test_the_fleet_cluster_from_nobody_who_makes_it_to_an_agent_that_reports(api: Api, plane: str) -> None:
    made = cluster(api, plane)
    label(api, plane)
    status = nodes(api, plane)["Fleet Cluster"].status
    assert (status.failed, status.message) == (True, "there is no Fleet Cluster")
    assert "capi-llm bootstrap installs it" in status.fix

    where = imported.PROVIDER.namespace
    apply(api, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": where}}], manager="test")
    spec = {"name": "rancher-fleet", "type": "addon", "version": "v0.12.0"}
    obj = api.create(CAPI_PROVIDERS, {"metadata": {"name": "fleet", "namespace": where}, "spec": spec})
    assert "Turtles has not seen it yet" in nodes(api, plane)["Fleet Cluster"].status.message
    api.merge_patch(imported.PROVIDER, {"status": installed(obj, "v0.12.0")}, subresource="status")
    assert "no FleetAddonConfig" in nodes(api, plane)["Fleet Cluster"].status.message
    api.create(imported.CONFIGS, {"metadata": {"name": "fleet-addon-config"}, "spec": {}})
    status = nodes(api, plane)["Fleet Cluster"].status
    assert "has not made a Fleet Cluster yet" in status.message
    assert "caapf-controller-manager" in status.fix
    api.merge_patch(CLUSTERS.ref(made), {"metadata": {"labels": {contract.NO_FLEET: "true"}}})
    assert nodes(api, plane)["Fleet Cluster"].status.message == "it is left out of Fleet"
    api.merge_patch(CLUSTERS.ref(made), {"metadata": {"labels": {contract.NO_FLEET: None}}})

    # In the cluster's own namespace and of its name; one elsewhere is not it.
    ref = Ref(FLEET_CLUSTERS, "demo", plane)
    api.create(FLEET_CLUSTERS, {"metadata": {"name": "demo", "namespace": "default"}, "spec": {}})
    try:
        assert "has not made" in nodes(api, plane)["Fleet Cluster"].status.message
    finally:
        api.delete(Ref(FLEET_CLUSTERS, "demo", "default"))
    api.create(
        FLEET_CLUSTERS,
        {"metadata": {"name": "demo", "namespace": plane}, "spec": {"kubeConfigSecret": "demo-kubeconfig"}},
    )
    assert "Fleet has not registered it yet" in nodes(api, plane)["Fleet Cluster"].status.message
    state: Object = {"namespace": "cluster-x", "agentDeployedGeneration": 0}
    api.merge_patch(ref, {"status": state}, subresource="status")
    status = nodes(api, plane)["Fleet Cluster"].status
    assert "WaitCheckIn" in status.message
    assert "redeployAgentGeneration" in status.fix
    seen = now()
    api.merge_patch(ref, {"status": {"agent": {"lastSeen": seen}}}, subresource="status")
    assert nodes(api, plane)["Fleet Cluster"].status.ready


def test_a_plane_without_rancher_has_no_such_lines(api: Api) -> None:
    assert imported.Beside(None, None).nodes({"metadata": {"name": "demo", "namespace": "default"}}) == ()
    assert imported.verdict(()) is None
