"""How each state of Fleet is brought about. Every function is one or a few rounds."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from capi_llm.apps.catalogue import shipped
from capi_llm.apps.engine import Release
from capi_llm.apps.fleet import registration
from capi_llm.apps.fleet.kinds import BUNDLES, CLUSTER_GROUPS, FLEET_CLUSTERS
from capi_llm.contract import fleet as contract
from capi_llm.contract.fleet_troubles import BundleState
from capi_llm.errors import TimedOut
from capi_llm.kube.resources import CONFIGMAPS, DEPLOYMENTS, Ref
from capi_llm.tools.helm import Chart
from capi_llm.waiting import Status, pending, ready
from soaking.fleet import APPS, CLUSTERS, CONFIGMAP, LABEL, NAMESPACE, Stage

_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(name)s}
spec:
  replicas: 1
  selector: {matchLabels: {app: %(name)s}}
  template:
    metadata: {labels: {app: %(name)s}}
    spec:
      nodeSelector: {{ .Values.nodes | toJson }}
      containers: [{name: a, image: simulated, env: [{name: A, value: '{{ .Values.a }}'}]}]
"""
_NOWHERE = {"pool": "none"}
_CHANGES = 20


def _pods(name: str) -> dict[str, str]:
    return {"templates/a.yaml": _DEPLOYMENT % {"name": name}}


def registered(stage: Stage) -> None:
    """Clusters are registered from their kubeconfig Secret; their agents come up later."""
    for cluster in CLUSTERS:
        registration.register(stage.api, cluster, NAMESPACE)

    def status(cluster: str) -> Status:
        found = stage.api.find(Ref(FLEET_CLUSTERS, cluster, NAMESPACE))
        return contract.agent(found) if found else pending("no Fleet Cluster")

    def waits() -> Status:
        now = status("w1")
        return ready() if now.message.startswith("WaitCheckIn") else now

    seconds = stage.until("the agent to be asked for", waits)
    stage.note("WaitCheckIn", "the agent has not been started", status("w1"), seconds)
    agent = Ref(DEPLOYMENTS, "fleet-agent", "cattle-fleet-system")

    def deployed(cluster: str) -> Status:
        return ready() if stage.workloads[cluster].find(agent) else pending("not there")

    for cluster in CLUSTERS:
        stage.until("the agent's Deployment", functools.partial(deployed, cluster))
        stage.fleet.start_agent(cluster, stage.kubeconfigs[cluster])
    both = [
        stage.until(f"the agent of {cluster}", functools.partial(status, cluster)) for cluster in CLUSTERS
    ]
    stage.note("Ready, cluster", "both agents were started", status("w1"), sum(both))


def our_bundles(stage: Stage) -> None:
    """What ships with capi-llm and fits the sandbox, on both clusters."""
    engine = stage.engine()
    bundles = [item for item in shipped() if item.fits("sandbox") and item.place == "workload"]
    # The clusters' volumes are left out: nothing makes them there.
    sandbox = {"serving": "deployment", "storage": {"enabled": False}}
    releases = [
        Release(
            item,
            item.release,
            item.namespace,
            dict(item.values) | {key: value for key, value in sandbox.items() if item.knows(key)},
        )
        for item in bundles
    ]
    since = time.monotonic()
    engine.apply(releases)
    for release in releases:
        found, _ = stage.shows(engine, release.app, BundleState.READY)
        seconds = round(time.monotonic() - since, 1)
        stage.note(f"Ready, {release.app}", "delivered to both clusters", found.status, seconds)
    again = sum(item.writes for item in engine.apply(releases))
    stage.rounds.append({"state": "Ready, again", "provoked by": "the same apply", "writes": again,
                         "wrong": ["it wrote"] if again else []})  # fmt: skip


def newest_change(stage: Stage) -> None:
    """Whether ready ever means the content before: twenty changes, each looked at all the time."""
    engine, fooled, wrong = stage.engine(), 0, []
    engine.apply([stage.release("change", a="0")])
    stage.shows(engine, "change", BundleState.READY)
    since = time.monotonic()
    for number in range(1, _CHANGES + 1):
        engine.apply([stage.release("change", a=str(number))])
        deadline, early = time.monotonic() + 60, False
        while time.monotonic() < deadline:
            obj = stage.api.get(Ref(BUNDLES, "all-change", NAMESPACE))
            (now,) = engine.status(["change"])
            there = [
                api.get(Ref(CONFIGMAPS, "change", APPS))["data"]["a"] for api in stage.workloads.values()
            ]
            fresh = there == [str(number)] * len(CLUSTERS)
            seen = obj.get("status", {}).get("observedGeneration") == obj["metadata"]["generation"]
            said = any(
                item["type"] == "Ready" and item["status"] == "True" for item in obj["status"]["conditions"]
            )
            early = early or (seen and said and not fresh)
            if now.status.ready:
                # Content is read after the status: it can only be newer.
                wrong += [] if fresh else [f"change {number}: ready, and the clusters have {there}"]
                break
        else:
            wrong.append(f"change {number} did not get ready")
        fooled += early
    stage.rounds.append({
        "state": "Ready, of the newest change", "provoked by": f"{_CHANGES} changes of a value",
        "Fleet said Ready and observed with the old content there": fooled, "wrong": wrong,
        "seconds": round(time.monotonic() - since, 1),
    })  # fmt: skip
    stage.tell(f"newest change: Fleet's own Ready was early in {fooled} of {_CHANGES}, ours in {len(wrong)}")


def no_targets(stage: Stage) -> None:
    engine = stage.engine("nowhere", labels={"env": "nowhere"})
    engine.apply([stage.release("lonely")])
    found, seconds = stage.shows(engine, "lonely", "0 clusters match")
    stage.note("0 of 0 clusters", "no cluster has the label", found.status, seconds)
    stage.keep("lonely", "nowhere-lonely")


def groups_and_overrides(stage: Stage) -> None:
    """A cluster group, and another value on one of its clusters."""
    selector = {"matchLabels": dict([LABEL])}
    stage.api.create(
        CLUSTER_GROUPS, {"metadata": {"name": "llm", "namespace": NAMESPACE}, "spec": {"selector": selector}}
    )
    engine = stage.engine("group", group="llm", overrides={"w2": {"grouped": {"a": "other"}}})
    engine.apply([stage.release("grouped", a="common")])
    found, seconds = stage.shows(engine, "grouped", BundleState.READY, "2 of 2")
    there = {
        name: api.get(Ref(CONFIGMAPS, "grouped", APPS))["data"]["a"] for name, api in stage.workloads.items()
    }
    wrong = [] if there == {"w1": "common", "w2": "other"} else [f"the clusters have {there}"]
    stage.note(
        "Ready, by group", "a cluster group, and a value for w2 alone", found.status, seconds, wrong=wrong
    )
    found_group = contract.cluster_group(stage.api.get(Ref(CLUSTER_GROUPS, "llm", NAMESPACE)))
    stage.note("ClusterGroup", "the same", found_group, 0.0)
    empty = {
        "metadata": {"name": "none", "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": {"env": "x"}}},
    }
    stage.api.create(CLUSTER_GROUPS, empty)

    def probe() -> Status:
        now = contract.cluster_group(stage.api.get(Ref(CLUSTER_GROUPS, "none", NAMESPACE)))
        return ready() if now.message == "selects no cluster" else now

    seconds = stage.until("the empty group", probe)
    now = contract.cluster_group(stage.api.get(Ref(CLUSTER_GROUPS, "none", NAMESPACE)))
    stage.note("ClusterGroup, empty", "its selector matches nothing", now, seconds)


def err_applied(stage: Stage) -> None:
    bad = {"templates/a.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: bad}\nspec: {}\n"}
    stage.provoke(
        "ErrApplied, refused", stage.release("bad", files=bad), "is invalid", "a Deployment without selector"
    )
    kind = {"templates/a.yaml": "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\n"}
    stage.provoke(
        "ErrApplied, unknown kind",
        stage.release("kind", files=kind),
        "no matches for kind",
        "its definition is not on the clusters",
    )
    schema = {
        "templates/a.yaml": CONFIGMAP % "schema",
        "values.schema.json": '{"properties": {"a": {"type": "integer"}}}',
    }
    stage.provoke(
        "ErrApplied, schema",
        stage.release("schema", files=schema, a="x"),
        "values.schema.json",
        "a value that the schema refuses",
    )
    template = {"templates/a.yaml": '{{ fail "a is needed" }}\n'}
    stage.provoke(
        "ErrApplied, template",
        stage.release("template", files=template),
        "a template of the chart",
        "a template that fails",
    )
    yaml = {"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a\n"}
    stage.provoke("NotReady, no YAML", stage.release("yaml", files=yaml), "YAML", "a file that is no YAML")


def given_up(stage: Stage) -> None:
    """What Fleet 0.14 does not try again: it stands as applied and is never ready."""
    for api in stage.workloads.values():
        api.create(CONFIGMAPS, {"metadata": {"name": "foreign", "namespace": APPS}, "data": {}})
    foreign = stage.release("foreign")
    stage.provoke("NotReady, foreign", foreign, "exists already", "a ConfigMap of that name was there")
    version = {
        "Chart.yaml": "apiVersion: v2\nname: version\nversion: 0.1.0\nkubeVersion: '>=9.0.0'\n",
        "templates/a.yaml": CONFIGMAP % "version",
    }
    stage.provoke(
        "NotReady, Kubernetes version",
        stage.release("version", files=version),
        "does not support the Kubernetes version",
        "a chart for Kubernetes 9",
    )


def not_ready_and_depends(stage: Stage) -> None:
    engine = stage.engine()
    waits = stage.release("waits", files=_pods("waits"), nodes=_NOWHERE)
    stage.provoke("NotReady", waits, "Deployment soak/waits", "pods that no node takes")
    after = stage.release("after", fleet="dependsOn: [{name: waits}]\n")
    stage.provoke(
        "ErrApplied, dependsOn",
        after,
        "dependsOn: it is applied when",
        "it depends on a bundle that is not ready",
    )
    engine.apply([stage.release("waits", files=_pods("waits"), nodes={})])
    found, seconds = stage.shows(engine, "after", BundleState.READY)
    stage.note("Ready, dependsOn", "the bundle that it depends on got ready", found.status, seconds)
    stage.api.merge_patch(
        Ref(BUNDLES, "all-after", NAMESPACE),
        {"spec": {"dependsOn": [{"name": "all-nobody"}], "helm": {"values": {"a": "2"}}}},
    )
    found, seconds = stage.shows(engine, "after", "ErrApplied", "dependsOn names all-nobody")
    stage.note(
        "ErrApplied, dependsOn nothing", "it depends on a bundle that is not there", found.status, seconds
    )


def modified_and_missing(stage: Stage) -> None:
    engine = stage.engine()
    engine.apply([stage.release("drift", files=_pods("drift"), nodes={}), stage.release("lost")])
    for app in ("drift", "lost"):
        stage.shows(engine, app, BundleState.READY)
    stage.workloads["w1"].merge_patch(Ref(DEPLOYMENTS, "drift", APPS), {"spec": {"replicas": 3}})
    found, seconds = stage.shows(engine, "drift", "Modified")
    stage.note("Modified", "kubectl scale on w1", found.status, seconds)
    stage.keep("drift", "all-drift")
    stage.workloads["w1"].delete(Ref(CONFIGMAPS, "lost", APPS))
    found, seconds = stage.shows(engine, "lost", "Missing")
    stage.note("Missing", "the ConfigMap was deleted on w1", found.status, seconds)
    stage.keep("lost", "all-lost")
    for app in ("drift", "lost"):
        stage.api.merge_patch(Ref(BUNDLES, f"all-{app}", NAMESPACE), {"spec": {"forceSyncGeneration": 1}})
        found, seconds = stage.shows(engine, app, BundleState.READY)
        stage.note(
            f"Ready, {app}", "spec.forceSyncGeneration was raised, as the fix says", found.status, seconds
        )
    compared = (
        "diff: {comparePatches: [{apiVersion: apps/v1, kind: Deployment, namespace: soak, name: scaled, "
        "operations: [{op: remove, path: /spec/replicas}]}]}\n"
    )
    engine.apply([stage.release("scaled", fleet=compared, files=_pods("scaled"), nodes={})])
    stage.shows(engine, "scaled", BundleState.READY)
    stage.workloads["w1"].merge_patch(Ref(DEPLOYMENTS, "scaled", APPS), {"spec": {"replicas": 3}})
    engine.apply([stage.release("scaled", fleet=compared, files=_pods("scaled"), nodes={}, a="2")])
    found, seconds = stage.shows(engine, "scaled", BundleState.READY)
    stage.note("Ready, compared", "scaled by hand, with comparePatches for replicas", found.status, seconds)


def wait_applied(stage: Stage) -> None:
    engine = stage.engine()
    engine.apply([stage.release("offline")])
    stage.shows(engine, "offline", BundleState.READY)
    stage.fleet.stop_agent("w2")
    engine.apply([stage.release("offline", a="2")])
    found, seconds = stage.shows(engine, "offline", "WaitApplied on cluster default/w2")
    stage.note("WaitApplied", "the agent of w2 was stopped, and a value changed", found.status, seconds)
    stage.keep("offline", "all-offline")
    found, seconds = stage.shows(engine, "offline", "WaitApplied", "its agent was last seen")
    stage.note("WaitApplied, later", "the agent was not seen for a while", found.status, seconds)
    since = time.monotonic()
    try:
        engine.remove(["offline"], timeout=10)
        stage.rounds.append({"state": "removal without agent", "wrong": ["it was said to be gone"]})
    except TimedOut as error:
        gone = stage.api.find(Ref(BUNDLES, "all-offline", NAMESPACE)) is None
        stage.note("removal without agent", "an app was removed while the agent of w2 was away",
                   Status(pending("").state, error.why, "", error.fix), round(time.monotonic() - since, 1),
                   **{"Fleet's Bundle was gone by then": gone})  # fmt: skip
    stage.fleet.start_agent("w2", stage.kubeconfigs["w2"])
    seconds = stage.until(
        "the agent to uninstall",
        lambda: (
            pending("still there")
            if stage.workloads["w2"].find(Ref(CONFIGMAPS, "offline", APPS))
            else ready()
        ),
    )
    stage.note(
        "removal, agent back",
        "the agent of w2 was started again",
        ready("the ConfigMap is gone on w2"),
        seconds,
    )


def out_of_sync(stage: Stage) -> None:
    engine = stage.engine()
    engine.apply([stage.release("paused")])
    stage.shows(engine, "paused", BundleState.READY)
    stage.api.merge_patch(Ref(BUNDLES, "all-paused", NAMESPACE), {"spec": {"paused": True}})
    engine.apply([stage.release("paused", a="2")])
    found, seconds = stage.shows(engine, "paused", "OutOfSync", "paused")
    stage.note("OutOfSync, paused", "spec.paused, and a value changed", found.status, seconds)
    stage.keep("paused", "all-paused")
    one = "rolloutStrategy: {maxUnavailable: 1}\n"
    engine.apply([stage.release("rollout", fleet=one, files=_pods("rollout"), nodes={})])
    stage.shows(engine, "rollout", BundleState.READY)
    engine.apply([stage.release("rollout", fleet=one, files=_pods("rollout"), nodes=_NOWHERE)])
    found, seconds = stage.shows(engine, "rollout", "OutOfSync", "maxUnavailable")
    stage.note(
        "OutOfSync, rollout",
        "maxUnavailable 1, and the first cluster does not get ready",
        found.status,
        seconds,
    )
    stage.keep("rollout", "all-rollout")


def pending_rollout(stage: Stage) -> None:
    partitions = (
        "rolloutStrategy: {maxUnavailablePartitions: 0, partitions: ["
        "{name: first, clusterName: w1, maxUnavailable: 0}, "
        "{name: second, clusterName: w2, maxUnavailable: 0}]}\n"
    )
    release = stage.release("parts", fleet=partitions, files=_pods("parts"), nodes=_NOWHERE)
    stage.provoke(
        "Pending", release, "on cluster default/w2", "two partitions, of which the first does not get ready"
    )


def targeting_error(stage: Stage) -> None:
    release = stage.release("targeting", fleet="helm: {disablePreProcess: false}\n", a="${ .Nope }")
    stage.provoke("targeting error", release, "template", "a template in the values that fails")


def helm_ops(stage: Stage) -> None:
    engine = stage.engine()
    tiny = stage.release("tiny")
    away = replace(
        tiny, bundle=replace(tiny.bundle, chart=Chart("tiny", "https://127.0.0.1:9/charts", "0.1.0"))
    )
    stage.provoke(
        "the chart is not accepted", away, "can not be downloaded", "a HelmOp whose repository is away"
    )
    with _repository(stage.life.folder) as address:
        there = replace(tiny, bundle=replace(tiny.bundle, chart=Chart("tiny", address, "0.1.0")))
        engine.apply([there])
        found, seconds = stage.shows(engine, "tiny", BundleState.READY, "2 of 2")
        stage.note("Ready, HelmOp", "the repository is there", found.status, seconds)
        stage.keep("helmop-ready", "all-tiny")
        engine.apply([replace(there, values={"a": "2"})])
        found, seconds = stage.shows(engine, "tiny", BundleState.READY, "2 of 2")
        values = [api.get(Ref(CONFIGMAPS, "tiny", APPS))["data"]["a"] for api in stage.workloads.values()]
        wrong = [] if values == ["2", "2"] else [f"ready with {values}"]
        stage.note("Ready, HelmOp changed", "a value changed", found.status, seconds, wrong=wrong)


def removal(stage: Stage) -> None:
    """All that is left, and then a cluster."""
    engine = stage.engine()
    apps, since = engine.delivered(), time.monotonic()
    engine.remove(apps, timeout=180)
    left = [
        f"{name}: {obj['metadata']['name']}"
        for name, api in stage.workloads.items()
        for obj in api.list(CONFIGMAPS, APPS)
        if obj["metadata"]["name"]
        not in (
            "kube-root-ca.crt",
            "foreign",
            "grouped",
        )
    ]
    seconds = round(time.monotonic() - since, 1)
    gone = ready(f"{len(apps)} apps are gone on both clusters")
    wrong = [f"left on {item}" for item in left]
    stage.note("removal", f"{len(apps)} apps were removed", gone, seconds, wrong=wrong)
    stage.fleet.stop_agent("w2")
    since = time.monotonic()
    ended = stage.life.run("delete-cluster", "w2", "--yes")
    stage.until(
        "the Fleet Cluster to go",
        lambda: pending("it is there") if stage.api.find(Ref(FLEET_CLUSTERS, "w2", NAMESPACE)) else ready(),
    )
    wrong = [ended.last] if ended.code else []
    seconds = round(time.monotonic() - since, 1)
    gone = ready("its Fleet Cluster went with it")
    stage.note("delete-cluster", "w2 was deleted", gone, seconds, wrong=wrong)


@contextlib.contextmanager
def _repository(folder: Path) -> Iterator[str]:
    """A chart repository on loopback with a chart ``tiny``."""
    root = folder / "charts"
    root.mkdir(exist_ok=True)
    files = {
        "tiny/Chart.yaml": "apiVersion: v2\nname: tiny\nversion: 0.1.0\n",
        "tiny/templates/a.yaml": CONFIGMAP % "tiny",
    }
    with tarfile.open(root / "tiny-0.1.0.tgz", "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    digest = hashlib.sha256((root / "tiny-0.1.0.tgz").read_bytes()).hexdigest()
    (root / "index.yaml").write_text(
        "apiVersion: v1\nentries:\n  tiny:\n  - {apiVersion: v2, name: tiny, version: 0.1.0, "
        f"urls: [tiny-0.1.0.tgz], digest: {digest}}}\n"
    )
    handler = functools.partial(_Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


ALWAYS = ("registered",)
ALL = (
    registered, our_bundles, newest_change, no_targets, groups_and_overrides, err_applied, given_up,
    not_ready_and_depends, modified_and_missing, wait_applied, out_of_sync, pending_rollout, targeting_error,
    helm_ops, removal,
)  # fmt: skip
