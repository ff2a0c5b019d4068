"""Fleet delivery on a real API server with Fleet's own definitions; Fleet's part is played.

What Fleet says is what a real one wrote (``tests/contract/data/fleet``), put into the status of
the objects that the engine has made. ``scripts/soak fleet`` runs a real Fleet.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

import audit
import upstream
from capi_llm.apps.engine import AppStatus, Release
from capi_llm.apps.fleet import registration
from capi_llm.apps.fleet.engine import FleetEngine, for_cluster
from capi_llm.apps.fleet.kinds import BUNDLE_DEPLOYMENTS, BUNDLES, FLEET_CLUSTERS, HELM_OPS
from capi_llm.apps.fleet.targets import Targets
from capi_llm.apps.fleetfile import read
from capi_llm.contract import fleet
from capi_llm.errors import CapiLlmError, Conflict, NotFound, Refused, TimedOut
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, Object, Ref, Resource
from capi_llm.waiting import Status, Waiter, pending, ready, until
from sandboxes import Sandbox

DATA = Path(__file__).parent.parent / "contract/data/fleet"
HELD = {"metadata": {"finalizers": ["fleet.cattle.io/bundle-finalizer"]}}
STATES = ("agent-offline", "bad-manifest", "depends", "litellm", "no-targets", "pending-pods", "unknown-kind")
CHART = "apiVersion: v2\nname: {}\nversion: 0.1.0\n"


def recorded(name: str) -> Object:
    found: Object = yaml.safe_load((DATA / f"{name}.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def api(sandbox: Sandbox) -> Api:
    upstream.install(sandbox.api, "fleet")
    return sandbox.api


Make = Callable[..., Release]


@pytest.fixture
def release(tmp_path: Path) -> Make:
    """Make a release of a bundle of that name: of a small chart, or what ``fleet_yaml`` says."""

    def make(name: str = "litellm", fleet_yaml: str = "", **values: Any) -> Release:
        folder = tmp_path / name
        (folder / "templates").mkdir(parents=True, exist_ok=True)
        (folder / "fleet.yaml").write_text(f"name: {name}\ndefaultNamespace: llm\n{fleet_yaml}")
        (folder / "Chart.yaml").write_text(CHART.format(name))
        text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: '{{ .Values.a }}'}\n"
        (folder / "templates/a.yaml").write_text(text)
        bundle = read(folder)
        return Release(bundle, bundle.release, bundle.namespace, values)

    return make


@pytest.fixture
def engine(api: Api, namespace: str) -> Iterator[FleetEngine]:
    """The engine for cluster w1 in the test's namespace; at the end no object of Fleet holds that back."""
    yield FleetEngine(api, Targets("w1", namespace, ("w1",)))
    for resource in (BUNDLES, HELM_OPS, BUNDLE_DEPLOYMENTS, FLEET_CLUSTERS):
        for obj in api.list(resource, namespace):
            with contextlib.suppress(NotFound):
                api.merge_patch(resource.ref(obj), {"metadata": {"finalizers": None}})


def say(api: Api, resource: Resource, name: str, namespace: str, status: Any) -> None:
    """Write ``status`` as Fleet does."""
    ref = Ref(resource, name, namespace)
    api.request("PUT", f"{ref.path}/status", body=api.get(ref) | {"status": status})


def play(api: Api, namespace: str, app: str, state: str) -> None:
    """What Fleet wrote for the recorded bundle ``state``, as that of ``app`` on cluster w1."""
    say(api, BUNDLES, f"w1-{app}", namespace, recorded(f"bundle-{state}")["status"])
    if state != "no-targets":
        bd = recorded(f"bundledeployment-{state}")
        deployed(api, namespace, app, bd["spec"], bd["status"])


def deployed(api: Api, namespace: str, app: str, spec: Any, status: Any) -> None:
    """Make the BundleDeployment of ``app`` on w1 as Fleet does, or bring it to the newest revision."""
    labels = api.get(Ref(BUNDLES, f"w1-{app}", namespace))["metadata"]["labels"]
    labels |= recorded("bundledeployment-litellm")["metadata"]["labels"]
    labels |= {"fleet.cattle.io/bundle-name": f"w1-{app}", "fleet.cattle.io/bundle-namespace": namespace}
    metadata = {"name": f"w1-{app}", "namespace": namespace, "labels": labels}
    ref = Ref(BUNDLE_DEPLOYMENTS, f"w1-{app}", namespace)
    if api.find(ref) is None:
        api.create(BUNDLE_DEPLOYMENTS, {"metadata": metadata, "spec": spec})
    else:
        api.merge_patch(ref, {"metadata": metadata, "spec": spec})
    say(api, BUNDLE_DEPLOYMENTS, f"w1-{app}", namespace, status)


def play_ready(api: Api, namespace: str) -> None:
    """Fleet has delivered litellm to w1, and all is well there."""
    bd = recorded("bundledeployment-litellm")
    deployed(
        api, namespace, "litellm", bd["spec"], bd["status"] | {"nonModified": True, "modifiedStatus": []}
    )
    generation = api.get(Ref(BUNDLES, "w1-litellm", namespace))["metadata"]["generation"]
    say(api, BUNDLES, "w1-litellm", namespace, is_ready() | {"observedGeneration": generation})


def is_ready() -> Object:
    """The status of a Bundle that is ready on its one cluster."""
    status: Object = recorded("bundle-litellm")["status"]
    summary = {"desiredReady": 1, "ready": 1}
    partitions = [{"count": 1, "maxUnavailable": 1, "name": "All", "summary": summary}]
    conditions = [{"type": "Ready", "status": "True"}]
    return status | {"summary": summary, "partitions": partitions, "conditions": conditions}


def one(engine: FleetEngine, app: str = "litellm") -> AppStatus:
    (found,) = engine.status([app])
    return found


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_a_real_fleet_is_told(
    api: Api, engine: FleetEngine, namespace: str, release: Make, state: str
) -> None:
    engine.apply([release()])
    play(api, namespace, "litellm", state)
    expected = fleet.bundle(recorded(f"bundle-{state}"))
    with engine.watching():
        watched = one(engine)
    for found in (watched, one(engine)):
        assert found.status.state is expected.state
        assert found.status.message == expected.message
        assert found.status.cause
        assert found.status.fix
        assert found.delivered
        assert found.version == "0.1.0"
        assert len(found.parts) == (state != "no-targets")
        assert all(part.status.message == expected.message for part in found.parts)


def test_a_wait_follows_what_fleet_says_until_it_is_ready(
    api: Api, engine: FleetEngine, namespace: str, release: Make
) -> None:
    engine.apply([release()])
    heard: list[Status] = []
    told = threading.Event()

    def report(status: Status) -> None:
        heard.append(status)
        told.set()

    def then(status: Any) -> None:
        assert told.wait(20)
        told.clear()
        say(api, BUNDLES, "w1-litellm", namespace, status)

    def fleet_works() -> None:
        then(recorded("bundle-agent-offline")["status"])
        then(recorded("bundle-pending-pods")["status"])
        assert told.wait(20)
        play_ready(api, namespace)

    player = threading.Thread(target=fleet_works)
    with engine.watching() as bell:
        player.start()
        # A long interval: only the watch can wake it in time.
        waiter = Waiter(wakeup=bell, report=report, interval=60)
        until(lambda: one(engine).status, what="litellm", timeout=50, waiter=waiter)
    player.join()
    messages = [status.message for status in heard]
    assert messages[0] == "the newest change is not seen by Fleet yet"
    assert messages[1].startswith("WaitApplied on cluster fleet-default/w1")
    assert messages[2].startswith("NotReady on cluster fleet-default/w1: Deployment llm/gpu")
    assert messages[-1] == "ready on 1 of 1 clusters"


def test_what_can_not_get_ready_ends_a_wait(
    api: Api, engine: FleetEngine, namespace: str, release: Make
) -> None:
    engine.apply([release()])
    play(api, namespace, "litellm", "bad-manifest")
    with pytest.raises(CapiLlmError, match="litellm failed") as caught:
        until(lambda: one(engine).status, what="litellm", timeout=30)
    assert not isinstance(caught.value, TimedOut)
    assert 'Deployment.apps "bad" is invalid' in caught.value.why
    assert "the workload cluster's API server refuses an object" in caught.value.why


def test_a_change_is_not_ready_before_fleet_has_seen_it(
    api: Api, engine: FleetEngine, namespace: str, release: Make
) -> None:
    engine.apply([release(a="1")])
    play_ready(api, namespace)
    assert one(engine).status.ready
    (delivered,) = engine.apply([release(a="2")])
    assert (delivered.objects[0].action, delivered.writes) == ("configured", 1)
    assert one(engine).status.message == "the newest change is not seen by Fleet yet"


def test_a_bundle_deployment_of_the_spec_before_is_not_ready(
    api: Api, engine: FleetEngine, namespace: str, release: Make
) -> None:
    engine.apply([release(a="1")])
    play_ready(api, namespace)
    assert one(engine).status.ready
    engine.apply([release(a="2")])
    # As a real Fleet writes it before it has changed the BundleDeployment.
    say(api, BUNDLES, "w1-litellm", namespace, is_ready() | {"observedGeneration": 2})
    assert one(engine).status.message == "the newest change is on its way to 1 clusters"
    play_ready(api, namespace)
    assert one(engine).status.ready


def test_a_summary_that_fleet_has_left_behind_is_not_believed(
    api: Api, engine: FleetEngine, namespace: str, release: Make
) -> None:
    engine.apply([release()])
    play_ready(api, namespace)
    say(api, BUNDLES, "w1-litellm", namespace, recorded("bundle-agent-offline")["status"])
    assert one(engine).status == ready("ready on 1 of 1 clusters")


def test_the_second_apply_writes_nothing(
    sandbox: Sandbox, api: Api, engine: FleetEngine, namespace: str, release: Make
) -> None:
    other = "helm: {chart: c, repo: 'https://example.com', version: 1.0.0}\n"
    releases = [release(a="1"), release("metrics", other, replicas=2)]
    assert [each.objects[0].action for each in engine.apply(releases)] == ["created", "created"]
    # Fleet's controller adds its finalizer, and the server its defaults.
    api.merge_patch(Ref(BUNDLES, "w1-litellm", namespace), HELD)
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    assert [each.writes for each in engine.apply(releases)] == [0, 0]
    assert [each.action for each in engine.diff(releases)] == ["none", "none"]
    assert audit.writes(log, agent="capi-llm/", after=before) == []
    assert engine.delivered() == ["litellm", "metrics"]


def test_a_diff_says_what_would_be_written(
    api: Api, engine: FleetEngine, namespace: str, release: Make
) -> None:
    assert [(each.action, str(each.ref)) for each in engine.diff([release(a="1")])] == [
        ("create", f"Bundle {namespace}/w1-litellm")
    ]
    assert api.list(BUNDLES, namespace) == []
    engine.apply([release(a="1")])
    (found,) = engine.diff([release(a="2")])
    assert found.action == "change"
    assert [(change.path, change.old, change.new) for change in found.changes] == [
        ("spec.helm.values.a", "1", "2")
    ]


def test_a_removal_waits_for_whoever_holds_it(
    api: Api, engine: FleetEngine, namespace: str, release: Make
) -> None:
    engine.apply([release("base"), release("litellm", "dependsOn: [{name: base}]\n")])
    api.merge_patch(Ref(BUNDLES, "w1-litellm", namespace), HELD)
    with pytest.raises(TimedOut, match="the removal of litellm") as caught:
        engine.remove(["base", "litellm"], timeout=1)
    assert "held by fleet.cattle.io/bundle-finalizer" in caught.value.why
    # What it depends on is not touched before it is gone.
    assert "deletionTimestamp" not in api.get(Ref(BUNDLES, "w1-base", namespace))["metadata"]
    api.merge_patch(Ref(BUNDLES, "w1-litellm", namespace), {"metadata": {"finalizers": None}})
    removed = engine.remove(["base", "litellm", "never-there"], timeout=20)
    assert [each.app for each in removed] == ["base"]
    assert engine.delivered() == []
    assert engine.remove(["base"], timeout=20) == []


def test_a_bundle_of_somebody_else_is_not_taken(
    api: Api, engine: FleetEngine, namespace: str, release: Make
) -> None:
    foreign = {"metadata": {"name": "w1-litellm", "namespace": namespace,
                            "labels": {"fleet.cattle.io/repo-name": "apps"}}, "spec": {}}  # fmt: skip
    api.create(BUNDLES, foreign)
    with pytest.raises(Conflict, match="GitRepo apps has made it"):
        engine.apply([release()])
    engine.apply([release()], force=True)
    assert engine.delivered() == ["litellm"]


def test_a_chart_that_becomes_ours_replaces_its_helm_op(
    api: Api, engine: FleetEngine, namespace: str, release: Make
) -> None:
    other = release("litellm", "helm: {chart: c, repo: 'https://example.com', version: 1.0.0}\n")
    engine.apply([other])
    mine = release("litellm")
    assert [(each.action, each.ref.resource) for each in engine.diff([mine])] == [
        ("create", BUNDLES), ("delete", HELM_OPS),
    ]  # fmt: skip
    (delivered,) = engine.apply([mine])
    assert delivered.pruned == (Ref(HELM_OPS, "w1-litellm", namespace),)
    assert api.list(HELM_OPS, namespace) == []


def test_an_agent_that_is_away_is_the_cause(
    api: Api, engine: FleetEngine, namespace: str, release: Make
) -> None:
    cluster = recorded("cluster-w1")
    seen = datetime.now(UTC) - timedelta(minutes=50)
    status = cluster["status"]
    status["agent"]["lastSeen"] = seen.strftime("%Y-%m-%dT%H:%M:%SZ")
    api.create(FLEET_CLUSTERS, {"metadata": {"name": "w1", "namespace": namespace}, "spec": cluster["spec"]})
    say(api, FLEET_CLUSTERS, "w1", namespace, status)
    engine.apply([release()])
    play(api, namespace, "litellm", "agent-offline")
    assert one(engine).status.cause == "its agent was last seen 50 min ago"


def let_go(api: Api, cluster: Ref) -> None:
    """Delete a paused Cluster. Cluster API may put its finalizer back on until it sees the deletion."""

    def probe() -> Status:
        with contextlib.suppress(NotFound):
            api.merge_patch(cluster, {"metadata": {"finalizers": None}})
        return pending("it is still there") if api.find(cluster) else ready()

    api.delete(cluster)
    until(probe, what=str(cluster), timeout=60, waiter=Waiter(interval=0.2))


def test_status_shows_what_fleet_says_of_each_bundle(
    sandbox: Sandbox, api: Api, engine: FleetEngine, namespace: str, release: Make
) -> None:
    api.create(CLUSTERS, {"metadata": {"name": "w1", "namespace": namespace}, "spec": {"paused": True}})
    for_cluster(api, api.get(Ref(CLUSTERS, "w1", namespace))).apply([release()])
    owners = api.get(Ref(BUNDLES, "w1-litellm", namespace))["metadata"]["ownerReferences"]
    assert [(owner["kind"], owner["name"]) for owner in owners] == [("Cluster", "w1")]
    play(api, namespace, "litellm", "unknown-kind")
    ref = Ref(BUNDLE_DEPLOYMENTS, "w1-litellm", namespace)
    api.merge_patch(ref, {"metadata": {"labels": {"fleet.cattle.io/cluster-namespace": namespace}}})
    try:
        shown = sandbox.cli("status", "w1", "-n", namespace, "--verbose").stdout
        assert f"Fleet Cluster {namespace}/w1" in shown
        assert "BundleDeployment w1-litellm" in shown
        assert 'no matches for kind "Service" in version "serving.knative.dev/v1"' in shown
        assert "CustomResourceDefinition is missing" in shown
        found = json.loads(sandbox.cli("status", "w1", "-n", namespace, "-v", "-o", "json").stdout)
        (view,) = found["fleet"]
        assert view["agent"]["message"] == "Fleet has not registered it yet"
        assert view["bundles"][0]["name"] == "w1-litellm"
        assert "Fleet" not in sandbox.cli("status", "w1", "-n", namespace).stdout
    finally:
        let_go(api, Ref(CLUSTERS, "w1", namespace))


def test_what_runs_on_the_management_cluster_is_not_for_fleet(engine: FleetEngine, release: Make) -> None:
    with pytest.raises(Refused, match="runs on the management cluster"):
        engine.render([release("autoscaler", "labels: {capi-llm.dev/place: management}\n")])


def test_clusters_of_a_set_get_what_their_kubernetes_asks_for(
    api: Api, namespace: str, release: Make, sandbox: Sandbox
) -> None:
    """Fleet's own definitions take it, and the second apply writes nothing."""
    selector = "clusterSelector: {matchLabels: {capi-llm.dev/kubernetes: '1.32'}}"
    theirs = "helm: {chart: x, repo: 'https://a.b', version: 2.0.0}\n"
    chart = f"{theirs}targetCustomizations: [{{{selector}, helm: {{version: 1.0.0}}}}]\n"
    values = f"targetCustomizations: [{{{selector}, helm: {{values: {{a: older}}}}}}]\n"
    engine = FleetEngine(api, Targets("set", namespace, labels={"env": "llm"}))
    made = [release("theirs", chart), release("ours", values, a="newest")]
    engine.apply(made)
    both = {"env": "llm", "capi-llm.dev/kubernetes": "1.32"}
    for ref, custom in (
        (Ref(HELM_OPS, "set-theirs", namespace), {"version": "1.0.0"}),
        (Ref(BUNDLES, "set-ours", namespace), {"values": {"a": "older"}}),
    ):
        assert api.get(ref)["spec"]["targets"] == [
            {"clusterSelector": {"matchLabels": both}, "helm": custom},
            {"clusterSelector": {"matchLabels": {"env": "llm"}}},
        ]
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    engine.apply(made)
    assert audit.writes(log, agent="capi-llm/", after=before) == []


def test_a_cluster_is_registered_once_and_goes_with_its_own(
    sandbox: Sandbox, api: Api, namespace: str
) -> None:
    with pytest.raises(NotFound, match="no such cluster"):
        registration.register(api, "w9", namespace)
    metadata = {"name": "w9", "namespace": namespace, "labels": {"env": "llm"}}
    # Nobody makes anything of a Cluster that is paused and has no topology.
    api.create(CLUSTERS, {"metadata": metadata, "spec": {"paused": True}})
    applied = registration.register(api, "w9", namespace)
    assert applied is not None
    assert applied.action == "created"
    registered = api.get(Ref(FLEET_CLUSTERS, "w9", namespace))
    assert registered["metadata"]["labels"] == {"env": "llm"}
    assert registered["spec"]["kubeConfigSecret"] == "w9-kubeconfig"
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    again = registration.register(api, "w9", namespace)
    assert again is not None
    assert again.action == "unchanged"
    assert audit.writes(log, agent="capi-llm/", after=before) == []
    let_go(api, Ref(CLUSTERS, "w9", namespace))

    def probe() -> Status:
        there = api.find(Ref(FLEET_CLUSTERS, "w9", namespace))
        return ready() if there is None else pending("the Fleet Cluster is still there")

    until(probe, what="the Fleet Cluster's removal", timeout=60)
