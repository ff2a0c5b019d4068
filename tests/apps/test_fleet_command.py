"""``apps`` on a cluster that Fleet delivers to, through the command line; Fleet's part is played.

``scripts/soak fleet`` runs a real Fleet.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from apps_commands import Commands
from small_bundles import config, make, server

import audit
import upstream
from capi_llm.apps import applyset, delivery, log, volumes
from capi_llm.apps.fleet.engine import for_cluster
from capi_llm.apps.fleet.kinds import BUNDLE_DEPLOYMENTS, BUNDLES, FLEET_CLUSTERS
from capi_llm.errors import Conflict, NotFound
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, CONFIGMAPS, CRDS, DEPLOYMENTS, SECRETS, Object, Ref
from capi_llm.waiting import Status, pending, ready, until
from sandboxes import Sandbox

pytestmark = pytest.mark.sandbox

CLAIM = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


@pytest.fixture
def commands(
    sandbox: Sandbox, cluster: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Commands]:
    """A cluster that is to be delivered to by Fleet, and three apps; one is of the management plane."""
    upstream.install(sandbox.api, "fleet")
    # The sandbox plays the workload cluster of other tests too; theirs are unknown here.
    for parent in sandbox.api.list(CONFIGMAPS, "kube-system"):
        if parent["metadata"]["name"].startswith("capi-llm-app."):
            sandbox.api.delete(Ref(CONFIGMAPS, parent["metadata"]["name"], "kube-system"))
    monkeypatch.setenv("CAPI_LLM_DELIVERY", "fleet")
    folder = tmp_path / "bundles"
    takes = {"takeOwnership": True}
    make(folder, f"{namespace}-conf", {"c": config("conf", a="a")}, namespace=namespace, helm=takes)
    needs = [{"name": f"{namespace}-conf"}]
    web = {"d": server("web"), "c": CLAIM}
    make(folder, f"{namespace}-web", web, namespace=namespace, dependsOn=needs, helm=takes)
    labels = {"capi-llm.dev/place": "management"}
    make(folder, f"{namespace}-scaler", {"c": config("scaler", a="a")}, namespace=namespace, labels=labels)
    yield Commands(sandbox, namespace, folder)
    for resource in (BUNDLES, BUNDLE_DEPLOYMENTS, FLEET_CLUSTERS):
        for obj in sandbox.api.list(resource, namespace):
            sandbox.api.delete(resource.ref(obj))
    with contextlib.suppress(NotFound):
        sandbox.api.delete(Ref(volumes.VOLUMES, f"simulated-{namespace}-data"))


def deploy(api: Api, namespace: str, app: str, *objects: Object) -> None:
    """Fleet's part: the BundleDeployment of ``app``, ready, and its ``objects`` on the cluster."""
    name = f"demo-{app}"
    bundle = api.get(Ref(BUNDLES, name, namespace))
    labels = bundle["metadata"]["labels"] | {
        "fleet.cattle.io/bundle-name": name,
        "fleet.cattle.io/bundle-namespace": namespace,
        "fleet.cattle.io/cluster": "demo",
        "fleet.cattle.io/cluster-namespace": namespace,
    }
    apply(api, objects, manager="fleetagent")
    resources = [
        {"apiVersion": obj["apiVersion"], "kind": obj["kind"],
         "namespace": namespace, "name": obj["metadata"]["name"]}
        for obj in objects
    ]  # fmt: skip
    kept = bundle["spec"].get("keepResources", False)
    made = {
        "apiVersion": BUNDLE_DEPLOYMENTS.api_version,
        "kind": BUNDLE_DEPLOYMENTS.kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"deploymentID": f"a:{kept}", "stagedDeploymentID": f"a:{kept}",
                 "options": {"keepResources": kept}},
    }  # fmt: skip
    apply(api, [made], manager="fleetcontroller")
    status = {
        "appliedDeploymentID": f"a:{kept}", "ready": True, "nonModified": True, "resources": resources,
        "conditions": [{"type": kind, "status": "True"} for kind in ("Ready", "Installed", "Deployed")],
        "display": {"state": "Ready"},
    }  # fmt: skip
    ref = Ref(BUNDLE_DEPLOYMENTS, name, namespace)
    api.request("PUT", f"{ref.path}/status", body=api.get(ref) | {"status": status})
    summary = {"desiredReady": 1, "ready": 1}
    told = {
        "observedGeneration": bundle["metadata"]["generation"],
        "summary": summary,
        "maxUnavailable": 1, "unavailable": 0, "maxUnavailablePartitions": 0, "unavailablePartitions": 0,
        "display": {"state": "Ready"}, "resourcesSha256Sum": "a",
        "partitions": [{"count": 1, "maxUnavailable": 1, "name": "All", "summary": summary,
                        "unavailable": 0}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }  # fmt: skip
    ref = Ref(BUNDLES, name, namespace)
    api.request("PUT", f"{ref.path}/status", body=api.get(ref) | {"status": told})


def manifests(text: str, name: str, namespace: str) -> Object:
    obj: Object = yaml.safe_load(text)
    obj["metadata"] |= {"name": name, "namespace": namespace}
    return obj


def web_objects(namespace: str) -> list[Object]:
    web = manifests(server("web").replace("{{ .Values.replicas | default 1 }}", "1"), "web", namespace)
    return [web, manifests(CLAIM, "data", namespace)]


def test_a_plane_without_fleet_is_refused_before_anything_is_touched(
    sandbox: Sandbox, commands: Commands, namespace: str
) -> None:
    api, definition = sandbox.api, Ref(CRDS, str(BUNDLES))
    api.delete(definition)

    def probe() -> Status:
        return ready() if api.find(definition) is None else pending("it is still there")

    until(probe, what="the removal of the definition", timeout=30)
    before = sandbox.ctx.sandbox.audit_log.stat().st_size
    try:
        for done in (
            commands.run("apply", check=False),
            sandbox.cli("new-cluster", "other", "-n", namespace, "--apps", "ollama", check=False),
        ):
            assert done.returncode == 3, done.stderr
            assert "this plane has no Fleet" in done.stderr
            assert "apps.delivery: direct" in done.stderr
        written = audit.writes(sandbox.ctx.sandbox.audit_log, agent="capi-llm/", after=before)
        assert [item for item in written if "/leases" not in item.uri] == []
    finally:
        upstream.install(api, "fleet")


def test_apps_come_by_fleet(
    sandbox: Sandbox, commands: Commands, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, log_file = sandbox.api, sandbox.ctx.sandbox.audit_log
    conf, web, scaler = (f"{namespace}-{name}" for name in ("conf", "web", "scaler"))

    rendered = {obj["kind"] for obj in yaml.safe_load_all(commands.run("render").stdout)}
    assert rendered == {"Bundle", "ConfigMap"}, "nothing else is for the management plane"
    diff = commands.run("diff", "--exit-code", check=False)
    assert diff.returncode == 5
    assert f"+ Bundle {namespace}/demo-{web}: would be created" in diff.stdout
    monkeypatch.setenv("CAPI_LLM_BUNDLE_DIR", str(commands.folder))
    for name, action in (("demo", "change"), ("new", "deliver")):
        planned = sandbox.cli("plan", name, "-n", namespace, "-o", "json", check=False)
        (entry,) = json.loads(planned.stdout)["apps"]
        assert (entry["cluster"]["delivery"], entry["action"]) == ("fleet", action)
        assert set(entry["apps"]) == {conf, web, scaler}
        kinds = {(item["kind"], item["name"]) for item in entry["objects"]}
        assert (("Bundle", f"demo-{web}") in kinds) == (name == "demo")
    assert api.list(BUNDLES, namespace) == []

    commands.run("apply", "--no-wait")
    assert delivery.recorded(delivery.find(api, "demo", namespace)) == "fleet"
    assert sorted(obj["metadata"]["name"] for obj in api.list(BUNDLES, namespace)) == [
        f"demo-{conf}", f"demo-{web}",
    ]  # fmt: skip
    assert api.find(Ref(CONFIGMAPS, "scaler", namespace)) is not None, "Fleet does not bring it"
    assert api.find(Ref(CONFIGMAPS, "conf", namespace)) is None, "Fleet has to bring it"
    assert api.find(Ref(FLEET_CLUSTERS, "demo", namespace)) is not None
    assert api.find(Ref(volumes.VOLUMES, f"simulated-{namespace}-data")) is not None

    deploy(api, namespace, conf, manifests(config("conf", a="a"), "conf", namespace))
    deploy(api, namespace, web, *web_objects(namespace))
    before = log_file.stat().st_size
    assert "3 apps ready: nothing was changed." in commands.run("apply").stderr
    assert [
        i for i in audit.writes(log_file, agent="capi-llm/", after=before) if "/leases" not in i.uri
    ] == []

    # What is recorded counts where nothing is said.
    monkeypatch.delenv("CAPI_LLM_DELIVERY")
    listed = json.loads(commands.run("list", "-o", "json").stdout)
    assert listed["cluster"]["delivery"] == "fleet"
    assert {row["name"]: row["state"] for row in listed["apps"]} == {
        conf: "Ready", web: "Ready", scaler: "Ready",
    }  # fmt: skip
    monkeypatch.setenv("CAPI_LLM_DELIVERY", "direct")
    refused = commands.run("apply", check=False)
    assert refused.returncode == 1
    assert f"capi-llm apps migrate demo --to direct -n {namespace}" in refused.stderr
    monkeypatch.delenv("CAPI_LLM_DELIVERY")

    deployment = Ref(DEPLOYMENTS, "web", namespace)
    generation = api.get(deployment)["metadata"]["generation"]
    assert f"Deployment {namespace}/web: its pods" in commands.run("restart", web, "--no-wait").stderr
    assert api.get(deployment)["metadata"]["generation"] == generation + 1

    engine = for_cluster(api, api.get(Ref(CLUSTERS, "demo", namespace)), workload=api)

    def pods() -> Status:
        found = log.containers(api, engine.status([web]))
        return ready() if any(item.name == "main" for item in found) else pending("no pod yet")

    until(pods, what="a pod of web", timeout=30)

    # Its part: the agent uninstalls.
    api.delete(deployment)
    removed = commands.run("remove", "--yes")
    assert f"{web}: 1 object deleted." in removed.stderr
    assert f"{scaler}: 1 object deleted." in removed.stderr
    assert api.list(BUNDLES, namespace) == []
    assert delivery.recorded(delivery.find(api, "demo", namespace)) is None


def test_apps_change_hands_and_stay_as_they_are(
    sandbox: Sandbox, commands: Commands, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = sandbox.api
    conf, web = f"{namespace}-conf", f"{namespace}-web"
    refused = commands.run("migrate", "--to", "direct", check=False)
    assert refused.returncode == 1
    assert "apps.delivery says fleet" in refused.stderr
    monkeypatch.setenv("CAPI_LLM_DELIVERY", "direct")
    commands.run("apply", web)
    monkeypatch.delenv("CAPI_LLM_DELIVERY")

    deployment, claim = Ref(DEPLOYMENTS, "web", namespace), Ref(volumes.CLAIMS, "data", namespace)
    before = [api.get(ref)["metadata"]["uid"] for ref in (deployment, claim)]
    generation = api.get(deployment)["metadata"]["generation"]
    assert applyset.PART_OF in api.get(deployment)["metadata"]["labels"]

    stop = threading.Event()
    player = threading.Thread(target=play, args=(api, namespace, (conf, web), stop))
    player.start()
    try:
        moved = commands.run("migrate", "--to", "fleet", "--timeout", "60s")
        assert "2 apps are delivered by fleet" in moved.stderr
        assert delivery.recorded(delivery.find(api, "demo", namespace)) == "fleet"
        assert len(api.list(BUNDLES, namespace)) == 2
        assert applyset.PART_OF not in api.get(deployment)["metadata"]["labels"]
        parents = api.list(CONFIGMAPS, applyset.HOME, applyset.APP)
        assert [obj for obj in parents if namespace in obj["metadata"]["name"]] == []

        record = {"name": "sh.helm.release.v1.web.v1", "namespace": namespace,
                  "labels": {"owner": "helm", "name": web}}  # fmt: skip
        api.create(SECRETS, {"metadata": record})
        moved = commands.run("migrate", "--to", "direct", "--timeout", "60s")
        assert "2 apps are delivered by direct" in moved.stderr
        assert delivery.recorded(delivery.find(api, "demo", namespace)) == "direct"
        assert api.list(BUNDLES, namespace) == []
        assert api.list(SECRETS, namespace, "owner=helm") == []
    finally:
        stop.set()
        player.join()
    assert "nothing was changed" in commands.run("apply", web).stderr
    assert [api.get(ref)["metadata"]["uid"] for ref in (deployment, claim)] == before
    assert api.get(deployment)["metadata"]["generation"] == generation
    commands.run("remove", "--yes")


def play(api: Api, namespace: str, apps: tuple[str, ...], stop: threading.Event) -> None:
    """Fleet's part until ``stop``: BundleDeployments follow the Bundles, and go with them."""
    while not stop.wait(0.3):
        there = {obj["metadata"]["name"]: obj for obj in api.list(BUNDLES, namespace)}
        for app in apps:
            ref = Ref(BUNDLE_DEPLOYMENTS, f"demo-{app}", namespace)
            if ref.name in there:
                with contextlib.suppress(NotFound, Conflict):
                    deploy(api, namespace, app)
            elif api.find(ref) is not None:
                api.delete(ref)
