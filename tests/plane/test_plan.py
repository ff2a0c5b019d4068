"""plan: real webhooks say what a change would do, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit import writes
from capi_llm.clusters import classes
from capi_llm.clusters.plan import LAST_APPLIED, _as_kubectl_applies
from capi_llm.kube.difference import Change, changes
from capi_llm.kube.resources import CLUSTERS, Ref
from sandboxes import Sandbox

CLASS = "in-memory-llm-clusterclass"


def planned(sandbox: Sandbox, *argv: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """The objects of ``plan -o json`` by kind and name."""
    done = sandbox.cli("plan", *argv, "-o", "json", check=False)
    assert done.returncode == code, done.stderr
    return {f"{item['kind']} {item['name']}": item for item in json.loads(done.stdout)["objects"]}


def paths(item: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {change["path"]: (change["old"], change["new"]) for change in item["changes"]}


@pytest.mark.sandbox
def test_plans_of_a_cluster_and_its_class_write_nothing(
    sandbox: Sandbox, namespace: str, tmp_path: Path
) -> None:
    where = ("-n", namespace)
    folder = classes.shipped_class(CLASS)
    assert folder is not None
    shipped = tmp_path / "class"
    shipped.mkdir()
    text = yaml.safe_dump_all(folder.objects)
    (shipped / "class.yaml").write_text(text)
    made = sandbox.cli(
        "new-cluster", "p", *where, "--class-dir", str(shipped), "--version", "v1.32.0", "--workers", "1..3"
    )
    assert "is ready" in made.stderr
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size

    # Nothing differs.
    same = planned(sandbox, *where, "--class-dir", str(shipped), "--exit-code")
    assert {item["action"] for item in same.values()} == {"none"}
    assert len(same) == 8

    # A cluster, by options and by a file of ours.
    asked = ("--class", CLASS, "--workers", "2..4", "--version", "v1.33.0", "--set", "cni=none")
    item = planned(sandbox, "p", *where, *asked, "--pool", "gpu=0..2:gpu-worker", "--exit-code", code=5)[
        "Cluster p"
    ]
    found = paths(item)
    assert found["spec.topology.version"] == ("v1.32.0", "v1.33.0")
    assert found["spec.topology.variables[cni].value"] == ("calico", "none")
    assert found["spec.topology.workers.machineDeployments[gpu]"][0] is None
    spec = tmp_path / "p.yaml"
    said = {"name": "p", "namespace": namespace, "class": CLASS, "version": "v1.31.0"}
    spec.write_text(yaml.safe_dump({"apiVersion": "capi-llm.dev/v1alpha1", "kind": "ClusterSpec"} | said))
    apps = json.loads(sandbox.cli("plan", "p", *where, "--class", CLASS, "-o", "json").stdout)["apps"]
    assert [(entry["action"], entry["apps"]) for entry in apps] == [("none", [])]
    assert "its API server is simulated" in apps[0]["why"][0]
    item = planned(sandbox, "-f", str(spec), code=1)["Cluster p"]
    assert item["verdict"] == "refused"
    assert any('cannot be decreased from "1.32.0" to "1.31.0"' in why for why in item["why"])
    assert paths(item) == {
        "spec.topology.version": ("v1.32.0", "v1.31.0"),
        "metadata.labels[capi-llm.dev/kubernetes]": ("1.32", "1.31"),
    }

    # A template can not be changed; one with a new name can come, and the class may refer to it.
    changed = tmp_path / "changed.yaml"
    changed.write_text(text.replace("startupDuration: 3s", "startupDuration: 9s"))
    item = planned(sandbox, *where, "-f", str(changed), code=1)["DevMachineTemplate in-memory-llm-worker-v1"]
    assert item["why"] == ["spec.template.spec: a DevMachineTemplate can not be changed once it is there"]
    assert "such as in-memory-llm-worker-v2" in item["fix"]
    assert list(paths(item).values()) == [("3s", "9s")]
    renamed = tmp_path / "renamed.yaml"
    renamed.write_text(text.replace("in-memory-llm-worker-v1", "in-memory-llm-worker-v2"))
    items = planned(sandbox, *where, "-f", str(renamed))
    assert items["DevMachineTemplate in-memory-llm-worker-v2"]["action"] == "create"
    item = items[f"ClusterClass {CLASS}"]
    assert (item["action"], item["verdict"], item["notes"]) == ("change", "accepted", [])
    alone = tmp_path / "alone.yaml"
    class_only = [obj for obj in yaml.safe_load_all(renamed.read_text()) if obj["kind"] == "ClusterClass"]
    alone.write_text(yaml.safe_dump_all(class_only))
    item = planned(sandbox, *where, "-f", str(alone))[f"ClusterClass {CLASS}"]
    assert any(
        "DevMachineTemplate in-memory-llm-worker-v2, which is neither there" in n for n in item["notes"]
    )

    # A worker class in use can not go; a cluster of a class that comes with the file can not be asked about.
    for entry in class_only:
        del entry["spec"]["workers"]["machineDeployments"][0]
    alone.write_text(yaml.safe_dump_all(class_only))
    item = planned(sandbox, *where, "-f", str(alone), code=1)[f"ClusterClass {CLASS}"]
    assert any("used by Cluster" in why for why in item["why"])
    new = tmp_path / "new.yaml"
    cluster = sandbox.cli("new-cluster", "q", *where, "--class", "other", "--dry-run").stdout
    new.write_text(text.replace(CLASS, "other") + "---\n" + cluster)
    item = planned(sandbox, *where, "-f", str(new), "--exit-code", code=5)["Cluster q"]
    assert item["verdict"] == "not asked"
    assert "its ClusterClass" in item["why"][0]

    # Without its class, the server takes it and warns.
    new.write_text(cluster)
    item = planned(sandbox, *where, "-f", str(new))["Cluster q"]
    assert (item["action"], item["verdict"]) == ("create", "accepted")
    assert any("this ClusterClass does not exist" in note for note in item["notes"])
    new.write_text(cluster.replace("topology:", "topologie:"))
    item = planned(sandbox, *where, "-f", str(new), code=1)["Cluster q"]
    assert "topologie" in item["why"][0]

    assert writes(log, agent="capi-llm/", after=before) == []
    assert sandbox.api.get(Ref(CLUSTERS, "p", namespace))["spec"]["topology"]["version"] == "v1.32.0"
    table = sandbox.cli("plan", "p", *where, "--class", CLASS, "--version", "v1.33.0")
    assert "    spec.topology.version: v1.32.0 → v1.33.0" in table.stdout
    assert "Plan: 1 to change." in table.stdout
    assert f"= Apps of {namespace}/p: none: its API server is simulated" in table.stdout
    assert "capi-llm rehearse" in table.stderr


@pytest.mark.sandbox
def test_secrets_stay_hidden(sandbox: Sandbox, namespace: str, tmp_path: Path) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "stringData": {"key": "hunter2"},
    }
    sandbox.api.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body=secret)
    file = tmp_path / "secret.yaml"
    file.write_text(yaml.safe_dump(secret | {"stringData": {"key": "hunter3"}}))
    for form in ("table", "json"):
        done = sandbox.cli("plan", "-n", namespace, "-f", str(file), "-o", form)
        assert "data.key" in done.stdout
        assert "hunter" not in done.stdout + done.stderr
        assert "aHVudGVyM" not in done.stdout + done.stderr


@pytest.mark.sandbox
def test_what_can_not_be_planned_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("kind: Cluster\nmetadata: {}\n")
    manifests = tmp_path / "m.yaml"
    manifests.write_text("apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\n")
    for argv, code, message in (
        ((), 2, "nothing is asked for"),
        (("--workers", "2"), 2, "none is named"),
        (("-f", str(file)), 2, "not a Kubernetes object"),
        (("-f", str(tmp_path / "none.yaml")), 1, "the file does not exist"),
    ):
        done = sandbox.cli("plan", *argv, check=False)
        assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    done = sandbox.cli("plan", "-f", str(manifests), check=False)
    assert done.returncode == 1
    assert "✗ Thing default/t: would be refused" in done.stdout


def test_items_of_a_list_are_told_apart_by_name() -> None:
    old = {"spec": {"pools": [{"name": "a", "n": 1}, {"name": "b", "n": 1}], "plain": [1, 2]}}
    new = {"spec": {"pools": [{"name": "b", "n": 2}, {"name": "c"}], "plain": [1]}}
    assert changes(old, new) == (
        Change("spec.pools[a]", {"name": "a", "n": 1}, None),
        Change("spec.pools[b].n", 1, 2),
        Change("spec.pools[c]", None, {"name": "c"}),
        Change("spec.plain", [1, 2], [1]),
    )
    assert changes(old, old) == ()


def test_what_kubectl_applied_before_and_is_gone_is_removed() -> None:
    before = {"spec": {"a": 1, "b": {"c": 1, "d": 2}}}
    live = {"metadata": {"annotations": {LAST_APPLIED: json.dumps(before)}}}
    assert _as_kubectl_applies({"spec": {"b": {"c": 3}}}, live) == {
        "spec": {"a": None, "b": {"c": 3, "d": None}}
    }
    assert _as_kubectl_applies({"spec": {"b": {}}}, {"metadata": {}}) == {"spec": {"b": {}}}
