"""What Fleet's objects say, over objects that a real Fleet wrote."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from capi_llm.contract import fleet, fleet_reasons
from capi_llm.contract.fleet_troubles import BundleState, deployment_state, of_deployment
from capi_llm.waiting import State, Status

DATA = Path(__file__).parent / "data/fleet"


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DATA / f"{name}.yaml").read_text())
    return found


STATES = {
    "agent-offline": (BundleState.WAIT_APPLIED, State.PENDING, "", "agent"),
    "bad-manifest": (BundleState.ERR_APPLIED, State.FAILED, 'Deployment.apps "bad" is invalid', "refuses"),
    "depends": (BundleState.ERR_APPLIED, State.PENDING, "[pending-pods]", "dependsOn"),
    "litellm": (
        BundleState.MODIFIED,
        State.PENDING,
        "Deployment llm/litellm was changed, delivered was {",
        "changed",
    ),
    "pending-pods": (
        BundleState.NOT_READY,
        State.PENDING,
        "Deployment llm/gpu Deployment does not have",
        "pods",
    ),
    "unknown-kind": (
        BundleState.ERR_APPLIED,
        State.PENDING,
        "no matches for kind",
        "CustomResourceDefinition",
    ),
}
"""Recorded bundle → state, whether waiting helps, part of the message, part of the cause."""


@pytest.mark.parametrize("name", STATES)
def test_a_bundle_says_state_object_reason_cause_and_fix(name: str) -> None:
    state, how, message, cause = STATES[name]
    status = fleet.bundle(recorded(f"bundle-{name}"))
    assert status.state is how
    assert status.message.startswith(f"{state} on cluster fleet-default/w1")
    assert message in status.message
    assert cause in status.cause
    assert status.fix


@pytest.mark.parametrize("name", STATES)
def test_a_bundle_deployment_says_the_same(name: str) -> None:
    bd = recorded(f"bundledeployment-{name}")
    assert deployment_state(bd) is STATES[name][0] == bd["status"]["display"]["state"]
    ours, summed = fleet.bundle_deployment(bd), fleet.bundle(recorded(f"bundle-{name}"))
    assert (ours.state, ours.message, ours.cause) == (summed.state, summed.message, summed.cause)


def ready_bundle() -> dict[str, Any]:
    """The recorded one, as it was before somebody changed what it delivers."""
    obj = copy.deepcopy(recorded("bundle-litellm"))
    summary = {"desiredReady": 1, "ready": 1}
    obj["status"] |= {
        "conditions": [{"type": "Ready", "status": "True"}],
        "summary": summary,
        "partitions": [{"count": 1, "maxUnavailable": 1, "name": "All", "summary": summary}],
    }
    return obj


def test_ready() -> None:
    assert fleet.bundle(ready_bundle()) == Status(State.READY, "ready on 1 of 1 clusters")


def test_no_matching_cluster_is_not_ready_though_fleet_says_so() -> None:
    obj = recorded("bundle-no-targets")
    assert obj["status"]["conditions"][0] == {
        "lastUpdateTime": "2026-11-21T00:32:40Z", "status": "True", "type": "Ready",
    }  # fmt: skip
    status = fleet.bundle(obj)
    assert status.state is State.PENDING
    assert status.message == "0 clusters match its targets"
    assert "labels env=nowhere" in status.cause
    assert "fleet-default" in status.fix


def test_fewer_clusters_than_wanted_is_not_ready() -> None:
    status = fleet.bundle(ready_bundle(), clusters=2)
    assert status.state is State.PENDING
    assert status.message == "is on 1 of 2 clusters"


@pytest.mark.parametrize("seen", [None, 1])
def test_a_change_that_fleet_has_not_seen_is_not_ready(seen: int | None) -> None:
    obj = ready_bundle()
    obj["metadata"]["generation"] = 2
    obj["status"]["observedGeneration"] = seen
    if seen is None:
        obj["status"] = {}
    assert fleet.bundle(obj).message == "the newest change is not seen by Fleet yet"


def test_a_summary_of_the_content_before_is_not_ready() -> None:
    obj = ready_bundle()
    obj["status"]["unavailable"] = 1
    assert fleet.bundle(obj) == Status(State.PENDING, "the newest change is on its way to 1 clusters")


def test_an_error_of_the_controller_is_final() -> None:
    obj = ready_bundle()
    message = "targeting error: cluster w1 in namespace default: failed to parse helm values template"
    obj["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "reason": "Error", "message": message}
    ]
    status = fleet.bundle(obj)
    assert status.state is State.FAILED
    assert status.message == message


def state_of(bundle_state: BundleState, **entry: Any) -> Status:
    obj = ready_bundle()
    key = bundle_state[0].lower() + bundle_state[1:]
    resource = {"name": "default/w1", "bundleState": bundle_state, **entry}
    obj["status"]["summary"] = {"desiredReady": 1, "ready": 0, key: 1, "nonReadyResources": [resource]}
    return fleet.bundle(obj)


def test_out_of_sync_and_pending() -> None:
    out = state_of(BundleState.OUT_OF_SYNC)
    assert out.message == "OutOfSync on cluster default/w1: the newest change is not rolled out to it yet"
    assert "maxUnavailable" in out.cause
    assert "pause" in out.fix
    waits = state_of(BundleState.PENDING)
    assert waits.message.startswith("Pending on cluster default/w1: no BundleDeployment")
    assert "partition" in waits.cause


def test_a_pause_is_named() -> None:
    obj = ready_bundle()
    obj["spec"]["paused"] = True
    obj["status"]["summary"] = {
        "desiredReady": 1, "ready": 0, "outOfSync": 1,
        "nonReadyResources": [{"name": "default/w1", "bundleState": "OutOfSync"}],
    }  # fmt: skip
    assert fleet.bundle(obj).cause == "the bundle is paused (spec.paused)"


def test_a_rollout_that_waits_names_its_limit() -> None:
    obj = ready_bundle()
    entries = [
        {"name": "default/a", "bundleState": "NotReady"},
        {"name": "default/b", "bundleState": "OutOfSync"},
    ]
    obj["status"] |= {"unavailable": 1, "maxUnavailable": 1}
    obj["status"]["summary"] = {"desiredReady": 2, "ready": 0, "outOfSync": 1, "nonReadyResources": entries}
    status = fleet.bundle(obj, clusters=2)
    assert status.message.startswith("OutOfSync on cluster default/b")
    assert "maxUnavailable lets 1 be so at once" in status.cause


def test_what_was_deleted_is_called_missing() -> None:
    gone = {"kind": "ConfigMap", "apiVersion": "v1", "namespace": "llm", "name": "a", "missing": True}
    status = state_of(
        BundleState.MODIFIED, modifiedStatus=[{"kind": "Job", "name": "j", "patch": "{}"}, gone]
    )
    assert status.message == "Missing on cluster default/w1: ConfigMap llm/a is gone (and 1 more)"
    assert "forceSyncGeneration" in status.fix
    taken = state_of(BundleState.MODIFIED, modifiedStatus=[{**gone, "exist": True}])
    assert "is not owned by this bundle" in taken.message
    left = state_of(BundleState.MODIFIED, modifiedStatus=[{**gone, "missing": False, "delete": True}])
    assert "is left over" in left.message


def test_a_volume_that_is_not_bound_is_told_before_the_pods_that_wait_for_it() -> None:
    pods = {
        "kind": "Deployment",
        "namespace": "llm",
        "name": "ollama",
        "summary": {"message": ["Available: 0/1"]},
    }
    claim = {"kind": "PersistentVolumeClaim", "namespace": "llm", "name": "models",
             "summary": {"message": ["PVC is not Bound. phase: Pending"]}}  # fmt: skip
    status = state_of(BundleState.NOT_READY, nonReadyStatus=[pods, claim])
    assert "PersistentVolumeClaim llm/models PVC is not Bound. phase: Pending (and 1 more)" in status.message
    assert "StorageClass" in status.cause


def test_an_autoscaler_is_suspected_of_replicas() -> None:
    assert "an autoscaler" in fleet.bundle(recorded("bundle-litellm")).cause


def test_the_worst_is_told_first_and_all_are_kept() -> None:
    found = fleet.troubles(recorded("cluster-w1"))
    assert [each.state for each in found] == [
        BundleState.ERR_APPLIED, BundleState.ERR_APPLIED, BundleState.ERR_APPLIED,
        BundleState.WAIT_APPLIED, BundleState.MODIFIED, BundleState.NOT_READY,
    ]  # fmt: skip
    assert found[0].final
    assert not found[1].final


def test_states_beyond_the_ten_of_a_summary_are_counted() -> None:
    obj = ready_bundle()
    entries = [{"name": f"default/w{index}", "bundleState": "NotReady"} for index in range(10)]
    obj["status"]["summary"] = {
        "desiredReady": 14, "ready": 0, "notReady": 12, "errApplied": 2, "nonReadyResources": entries,
    }  # fmt: skip
    assert fleet.bundle(obj).message.startswith("ErrApplied on 2 clusters")


def given_up() -> dict[str, Any]:
    """As an agent of 0.14 leaves it after an error that it does not try again (deployErrToStatus)."""
    bd = copy.deepcopy(recorded("bundledeployment-pending-pods"))
    text = 'error validating data: unknown field "spec.replica"'
    bd["status"] = {
        "appliedDeploymentID": bd["spec"]["deploymentID"],
        "nonModified": True,
        "conditions": [
            {"type": "Installed", "status": "False", "reason": "Error", "message": f"not installed: {text}"},
            {"type": "Ready", "status": "False", "reason": "Error", "message": f"not ready: {text}"},
            {"type": "Deployed", "status": "True"},
        ],
    }
    return bd


def test_what_fleet_has_given_up_is_final() -> None:
    status = fleet.bundle_deployment(given_up())
    assert status.state is State.FAILED
    assert status.message == (
        'NotReady on cluster fleet-default/w1: error validating data: unknown field "spec.replica"'
    )
    assert "forceSyncGeneration" in status.fix


@pytest.mark.parametrize(
    ("text", "final", "cause"),
    [
        ("dependent bundle(s) are not ready: [a b]", False, "when a b is Ready"),
        (
            "list bundledeployments: no bundles matching labels fleet.cattle.io/bundle-name=demo-x,"
            "fleet.cattle.io/bundle-namespace=default in namespace default",
            False,
            "dependsOn names demo-x",
        ),
        (
            'ConfigMap "a" in namespace "llm" exists and cannot be imported into the current release: '
            "invalid ownership metadata; annotation validation error: missing key",
            True,
            "exists already",
        ),
        (
            "values don't meet the specifications of the schema(s) in the following chart(s):\nx",
            True,
            "schema",
        ),
        ("another operation (install/upgrade/rollback) is in progress", False, "interrupted"),
        ("timed out waiting for the condition", True, "in vain"),
        (
            'Job.batch "j" is invalid: spec.template: Invalid value: x: field is immutable',
            True,
            "can not be changed",
        ),
        ("failed to fetch https://x/y.tgz : 404 Not Found", False, "can not be downloaded"),
        ("YAML parse error on x/templates/a.yaml", True, "no YAML"),
        ("something new", False, ""),
    ],
)
def test_errors_of_agents(text: str, final: bool, cause: str) -> None:
    meaning = fleet_reasons.of(text)
    assert meaning.final is final
    assert cause in meaning.cause


def test_a_secret_that_was_refused_is_not_repeated() -> None:
    text = 'Deployment.apps "a" is invalid: spec.apiToken: Invalid value: "hunter2": should match'
    assert "hunter2" not in fleet_reasons.of(text).reason


SEEN = datetime(2026, 11, 21, 0, 33, 9, tzinfo=UTC)


def test_a_cluster_whose_agent_is_there_tells_of_its_bundles() -> None:
    obj = recorded("cluster-w1")
    assert fleet.agent(obj, now=SEEN + timedelta(minutes=16)).ready
    status = fleet.cluster(obj, now=SEEN)
    assert status.message.startswith("ErrApplied on bundle bad-manifest: ")


def test_an_agent_that_was_not_seen_for_long_is_offline() -> None:
    status = fleet.cluster(recorded("cluster-w1"), now=SEEN + timedelta(minutes=47))
    assert status.message == "its agent was last seen 47 min ago"
    assert status.fix


def test_how_often_agents_check_in_is_read_from_fleets_configuration() -> None:
    config = {"data": {"config": '{"agentCheckinInterval": "1m30s"}'}}
    assert fleet.check_in(config) == timedelta(seconds=90)
    for other in (
        None,
        {},
        {"data": {"config": "{"}},
        {"data": {"config": '{"agentCheckinInterval": "soon"}'}},
    ):
        assert fleet.check_in(other) == fleet.CHECK_IN
    obj, later = recorded("cluster-w1"), SEEN + timedelta(minutes=5)
    assert fleet.agent(obj, now=later).ready
    assert not fleet.agent(obj, now=later, every=fleet.check_in(config)).ready


def test_a_cluster_that_is_not_registered() -> None:
    obj = recorded("cluster-w1")
    obj["status"]["agent"] = {"lastSeen": "0001-01-01T00:00:00Z"}
    assert fleet.agent(obj, now=SEEN).message == "WaitCheckIn: its agent was never seen"
    obj["status"]["conditions"][1] |= {"status": "False", "message": 'secrets "w1-kubeconfig" not found'}
    assert 'secrets "w1-kubeconfig" not found' in fleet.agent(obj, now=SEEN).message
    del obj["status"]["conditions"], obj["status"]["agentDeployedGeneration"]
    assert fleet.agent(obj, now=SEEN).message == "its agent is not installed yet"
    obj["status"] = {}
    assert fleet.agent(obj, now=SEEN).message == "Fleet has not registered it yet"


def test_cluster_groups() -> None:
    obj: dict[str, Any] = {"metadata": {"name": "g", "namespace": "fleet-default"}}
    assert not fleet.cluster_group(obj).ready
    obj["status"] = {"clusterCount": 0, "summary": {"desiredReady": 0, "ready": 0}}
    assert fleet.cluster_group(obj).message == "selects no cluster"
    obj["status"] = {"clusterCount": 2, "nonReadyClusterCount": 1, "nonReadyClusters": ["w2"]}
    assert fleet.cluster_group(obj).message == "clusters that are not ready: w2"
    obj["status"] = {"clusterCount": 2}
    assert fleet.cluster_group(obj).ready


def helm_op() -> tuple[dict[str, Any], dict[str, Any]]:
    """A HelmOp, and the Bundle that Fleet makes of it."""
    made = ready_bundle()
    helm = {"chart": "metrics-server", "repo": "https://x/", "version": "3.12.2", "values": {"a": 1}}
    targets = [{"clusterName": "w1"}]
    made["spec"] = {"helm": helm, "targets": [{"clusterName": "w1", "name": "target000"}]}
    obj = {
        "metadata": {"name": "litellm", "namespace": "fleet-default", "generation": 1},
        "spec": {"helm": dict(helm), "targets": targets},
        "status": {"conditions": [{"type": "Accepted", "status": "True"}], "version": "3.12.2"},
    }
    return obj, made


def test_a_helm_op_is_ready_with_its_bundle() -> None:
    obj, made = helm_op()
    assert fleet.helm_op(obj, made).ready
    assert fleet.helm_op(obj, None).message == "Fleet has not made a Bundle of it yet"


@pytest.mark.parametrize("change", [{"values": {"a": 2}}, {"version": "3.13.0"}])
def test_a_helm_op_whose_change_is_not_in_its_bundle_is_not_ready(change: dict[str, Any]) -> None:
    obj, made = helm_op()
    obj["spec"]["helm"] |= change
    assert fleet.helm_op(obj, made).message == "the newest change is not in its Bundle yet"


def test_a_helm_op_whose_chart_can_not_be_had() -> None:
    obj, made = helm_op()
    text = "could not get a chart version: no chart version found for x-9.9.9"
    obj["status"]["conditions"] = [{"type": "Accepted", "status": "False", "message": text}]
    status = fleet.helm_op(obj, made)
    assert status.state is State.PENDING
    assert "repository" in status.cause


def test_something_that_is_being_deleted_is_not_ready() -> None:
    obj = ready_bundle()
    obj["metadata"]["deletionTimestamp"] = "2026-11-21T00:40:00Z"
    assert fleet.bundle(obj).message == "is being deleted, held by fleet.cattle.io/bundle-finalizer"
    assert of_deployment(recorded("bundledeployment-litellm")) is not None
