"""What ``plan`` says of the apps of clusters: of those that are there, and of those still to come."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from apps_commands import Commands
from small_bundles import config, make, server

from audit import writes
from capi_llm import plane
from capi_llm.cli import new_apps
from capi_llm.cli.console import Console
from capi_llm.cli.options import State
from capi_llm.kube.resources import CONFIGMAPS, SECRETS, Ref
from sandboxes import IN_MEMORY, Sandbox

pytestmark = pytest.mark.sandbox


@pytest.fixture
def commands(
    sandbox: Sandbox, cluster: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Commands:
    """Two apps, ``web`` after ``conf``, which the settings name too: plan takes no folder."""
    folder = tmp_path / "bundles"
    text = config("conf", a="TEXT").replace("TEXT", "{{ .Values.text }}")
    values = {"values": {"text": "a"}}
    make(folder, f"{namespace}-conf", {"c": text}, namespace=namespace, helm=values)
    needs = [{"name": f"{namespace}-conf"}]
    make(folder, f"{namespace}-web", {"d": server("web")}, namespace=namespace, dependsOn=needs)
    monkeypatch.setenv("CAPI_LLM_BUNDLE_DIR", str(folder))
    return Commands(sandbox, namespace, folder)


def planned(sandbox: Sandbox, namespace: str, *argv: str, code: int) -> dict[str, Any]:
    """The entry of the one cluster's apps."""
    done = sandbox.cli("plan", *argv, "-n", namespace, "-o", "json", check=False)
    assert done.returncode == code, done.stderr
    (entry,) = json.loads(done.stdout)["apps"]
    return dict(entry)


def test_of_a_cluster_still_to_come_the_apps_are_named(
    sandbox: Sandbox, commands: Commands, namespace: str
) -> None:
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    conf, web = f"{namespace}-conf", f"{namespace}-web"
    entry = planned(sandbox, namespace, "new", "--exit-code", code=5)
    assert (entry["action"], entry["verdict"], entry["apps"]) == ("deliver", "accepted", [conf, web])
    assert entry["cluster"] == {"name": "new", "namespace": namespace, "delivery": "direct"}
    assert planned(sandbox, namespace, "new", "--apps", conf, code=0)["apps"] == [conf]
    for argv, why in (
        (("--apps", "none"), "none are wanted"),
        (("--workers", "0"), "it has no workers"),
        (IN_MEMORY, "its API server is simulated"),
    ):
        entry = planned(sandbox, namespace, "new", *argv, code=0)
        assert (entry["action"], entry["apps"]) == ("none", [])
        assert why in entry["why"][0]
    table = sandbox.cli("plan", "new", "-n", namespace).stdout
    assert f"+ Apps of {namespace}/new: would be delivered directly, in this order: {conf}, {web}\n" in table
    unknown = sandbox.cli("plan", "new", "-n", namespace, "--apps", "cnf", check=False)
    assert unknown.returncode == 2
    assert "--apps: app 'cnf' is not known" in unknown.stderr
    assert writes(log, agent="capi-llm/", after=before) == []


def test_of_a_cluster_that_is_there_it_is_what_diff_says(
    sandbox: Sandbox, commands: Commands, namespace: str, tmp_path: Path
) -> None:
    # The Cluster itself is of no class, which is refused; its apps are another matter.
    log, conf = sandbox.ctx.sandbox.audit_log, f"{namespace}-conf"
    before = log.stat().st_size
    entry = planned(sandbox, namespace, "demo", code=1)
    assert (entry["action"], entry["verdict"]) == ("change", "accepted")
    assert entry["objects"] == json.loads(commands.run("diff", "-o", "json").stdout)["objects"]
    assert {item["action"] for item in entry["objects"]} == {"create"}
    assert writes(log, agent="capi-llm/", after=before) == []

    commands.run("apply", conf)
    assert planned(sandbox, namespace, "demo", "--apps", conf, code=1)["action"] == "none"
    settings = tmp_path / "capi-llm.yaml"
    said = f"apps: {{values: {{{conf}: {{text: b}}}}, wanted: [{conf}]}}\n"
    settings.write_text("apiVersion: capi-llm.dev/v1alpha1\n" + said)
    given = ("demo", "--config", str(settings))
    before = log.stat().st_size
    (item,) = planned(sandbox, namespace, *given, code=1)["objects"]
    assert (item["action"], item["changes"]) == ("change", [{"path": "data.a", "old": "a", "new": "b"}])
    table = sandbox.cli("plan", *given, "-n", namespace, check=False).stdout
    part = table[table.index(f"~ Apps of {namespace}/demo") :].splitlines()
    assert part == [
        f"~ Apps of {namespace}/demo: would be changed",
        f"    ~ ConfigMap {namespace}/conf: would be changed",
        "        data.a: a → b",
        "Apps: 1 to change.",
    ]
    assert writes(log, agent="capi-llm/", after=before) == []

    # What another owns would be refused, and so it is told.
    mine = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "mine"}}
    ref = Ref(CONFIGMAPS, "conf", namespace)
    meta = {"metadata": {"name": ref.name, "namespace": namespace}}
    sandbox.api.server_side_apply(ref, mine | meta, manager="somebody", force=True)
    entry = planned(sandbox, namespace, *given, code=1)
    assert entry["verdict"] == "refused"
    assert "somebody owns .data.a" in entry["objects"][0]["conflict"]
    assert f"capi-llm apps apply demo -n {namespace} --force-conflicts" in entry["fix"]


def test_a_cluster_that_can_not_be_asked_is_told(
    sandbox: Sandbox, commands: Commands, namespace: str
) -> None:
    sandbox.api.delete(Ref(SECRETS, "demo-kubeconfig", namespace))
    entry = planned(sandbox, namespace, "demo", code=1)
    assert (entry["action"], entry["verdict"], entry["objects"]) == ("unknown", "not asked", [])
    assert "kubeconfig" in entry["why"][0]
    table = sandbox.cli("plan", "demo", "-n", namespace, check=False).stdout
    assert f"? Apps of {namespace}/demo: could not be asked\n    because " in table


def test_what_is_planned_is_what_a_new_cluster_gets(
    sandbox: Sandbox, cluster: str, namespace: str, tmp_path: Path
) -> None:
    """Apps that the settings name, and what the models need beside them."""
    conf, folder = f"{namespace}-conf", tmp_path / "bundles"
    make(folder, conf, {"c": config("conf")}, namespace=namespace)
    make(folder, f"{namespace}-other", {"c": config("other")}, namespace=namespace)
    labels = {"capi-llm.dev/on-demand": "true"}
    make(folder, "redis", {"c": config("redis")}, namespace=namespace, labels=labels)
    file = tmp_path / "capi-llm.yaml"
    said = f"apps: {{wanted: [{conf}], bundleDir: {folder}}}\ngateway: {{sharedLimits: true}}\n"
    file.write_text("apiVersion: capi-llm.dev/v1alpha1\n" + said)
    for name in ("new", "demo"):
        where = (name, "--config", str(file))
        assert set(planned(sandbox, namespace, *where, code=name == "demo")["apps"]) == {conf, "redis"}

    settings = replace(sandbox.settings, bundle_dir=folder, apps=(conf,), shared_limits=True)
    state = State(Console(quiet=True), plane=sandbox.name)
    state.__dict__["settings"] = settings
    with plane.connected(settings, sandbox.name) as here:
        new_apps.bring(state, here, cluster, namespace, None, timeout=60)
    there = [
        name for name in ("conf", "other", "redis") if sandbox.api.find(Ref(CONFIGMAPS, name, namespace))
    ]
    assert there == ["conf", "redis"]
    sandbox.cli("apps", "remove", cluster, conf, "redis", "-n", namespace, "--yes", "--config", str(file))
