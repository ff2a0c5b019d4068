"""The commands of ``apps``, through the command line, and the chart that helm installs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from apps_commands import Commands
from small_bundles import config, make, server

from audit import writes
from capi_llm.apps.helm import Helm
from capi_llm.kube.resources import CLUSTER_CLASSES, CONFIGMAPS, CRDS, DEPLOYMENTS, NAMESPACES, SECRETS, Ref
from capi_llm.sandbox import executables
from sandboxes import Sandbox

pytestmark = pytest.mark.sandbox

Key = tuple[str, str, str, str]


def keys(objects: list[dict[str, object]]) -> set[Key]:
    found = set()
    for obj in objects:
        metadata = obj["metadata"]
        assert isinstance(metadata, dict)
        where = metadata.get("namespace", "")
        found.add((str(obj["apiVersion"]), str(obj["kind"]), str(where), str(metadata["name"])))
    return found


@pytest.fixture
def commands(sandbox: Sandbox, cluster: str, namespace: str, tmp_path: Path) -> Commands:
    folder = tmp_path / "bundles"
    values = {"values": {"text": "a"}}
    text = config("conf", a="TEXT").replace("TEXT", "{{ .Values.text }}")
    make(folder, f"{namespace}-conf", {"c": text}, namespace=namespace, helm=values)
    needs = [{"name": f"{namespace}-conf"}]
    make(folder, f"{namespace}-web", {"d": server("web")}, namespace=namespace, dependsOn=needs)
    labels = {"capi-llm.dev/planes": "kind"}
    make(folder, f"{namespace}-cni", {"c": config("cni")}, namespace=namespace, labels=labels)
    return Commands(sandbox, namespace, folder)


def test_from_nothing_to_nothing(sandbox: Sandbox, commands: Commands, namespace: str) -> None:
    conf, web, cni = (f"{namespace}-{name}" for name in ("conf", "web", "cni"))
    log = sandbox.ctx.sandbox.audit_log

    rows = {row["name"]: row for row in json.loads(commands.run("list", "-o", "json").stdout)["apps"]}
    # Other tests have apps on this API server too.
    assert {name: rows[name]["state"] for name in (conf, web, cni)} == {
        conf: "not delivered",
        web: "not delivered",
        cni: "not in sandbox",
    }

    before = log.stat().st_size
    diff = commands.run("diff", "--exit-code", check=False)
    assert diff.returncode == 5
    assert f"+ Deployment {namespace}/web: would be created" in diff.stdout
    assert diff.stdout.endswith("Diff: 2 to create.\n")
    rendered = list(yaml.safe_load_all(commands.run("render").stdout))
    assert writes(log, agent="capi-llm/", after=before) == []

    # Naming one brings what it needs too.
    done = commands.run("apply", web)
    assert "2 apps ready: 2 objects changed" in done.stderr
    assert done.stdout == ""
    listed = json.loads(commands.run("list", "-o", "json").stdout)
    assert listed["cluster"] == {"name": "demo", "namespace": namespace, "delivery": "direct"}
    applied: set[Key] = {("v1", "Namespace", "", namespace)}
    for row in (row for row in listed["apps"] if row["name"] in (conf, web)):
        applied |= {(p["apiVersion"], p["kind"], p["namespace"], p["name"]) for p in row["parts"]}
    assert keys(rendered) == applied, "render has what apply applies"
    # kubectl takes it as it is.
    kubectl = executables.paths(sandbox.settings)["kubectl"]
    text = commands.run("render").stdout
    command = [str(kubectl), "--kubeconfig", str(sandbox.kubeconfig), "apply", "--dry-run=server", "-f", "-"]
    subprocess.run(command, input=text, text=True, check=True, capture_output=True)

    before = log.stat().st_size
    again = commands.run("apply")
    assert "2 apps ready: nothing was changed." in again.stderr
    assert commands.run("diff", "--exit-code").stdout == "Diff: 2 unchanged.\n"
    commands.run("wait", conf, web)
    assert [item for item in writes(log, agent="capi-llm/", after=before) if "/leases" not in item.uri] == []

    changed = commands.run("diff", "--set", f"{conf}.text=b", "-o", "json")
    (found,) = [item for item in json.loads(changed.stdout)["objects"] if item["action"] != "none"]
    assert found["changes"] == [{"path": "data.a", "old": "a", "new": "b"}]

    uid = sandbox.api.get(Ref(DEPLOYMENTS, "web", namespace))["metadata"]["generation"]
    assert f"Deployment {namespace}/web: its pods" in commands.run("restart", web).stderr
    assert sandbox.api.get(Ref(DEPLOYMENTS, "web", namespace))["metadata"]["generation"] == uid + 1
    assert commands.run("restart", conf, check=False).returncode == 1
    assert commands.run("restart", check=False).returncode == 2

    stays = commands.run("remove", conf, "--yes", check=False)
    assert stays.returncode == 1
    assert f"app '{conf}' is needed by '{web}'" in stays.stderr
    assert commands.run("remove", web, conf, check=False).returncode == 2, "nobody can be asked"
    removed = commands.run("remove", web, conf, "--yes")
    assert f"{web}: 1 object deleted." in removed.stderr
    assert sandbox.api.find(Ref(CONFIGMAPS, "conf", namespace)) is None
    assert sandbox.api.find(Ref(NAMESPACES, namespace)) is not None
    assert "nothing was changed" in commands.run("remove", web, conf, "--yes").stderr


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("apply", "cnf"), 2, "APP: app 'cnf' is not known"),
        (("apply", "NS-cni"), 1, "is not for clusters of a sandbox: it fits kind"),
        (("apply", "--set", "x.y=1"), 2, "--set: app 'x' is not known"),
        (("render", "-o", "folder"), 2, "--format helm -o DIR"),
        (("render", "--format", "helm"), 2, "--format helm -o DIR"),
        (("logs", "cnf"), 2, "APP: app 'cnf' is not known"),
        (("list", "cnf"), 2, "APP: app 'cnf' is not known"),
    ],
)
def test_what_can_not_be_is_refused(
    sandbox: Sandbox, commands: Commands, namespace: str, argv: tuple[str, ...], code: int, words: str
) -> None:
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    done = commands.run(*(word.replace("NS", namespace) for word in argv), check=False)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [item for item in writes(log, agent="capi-llm/", after=before) if "/leases" not in item.uri] == []


def test_fleet_is_asked_for_before_anything_is_made(
    sandbox: Sandbox, commands: Commands, namespace: str, tmp_path: Path
) -> None:
    settings = tmp_path / "capi-llm.yaml"
    settings.write_text("apiVersion: capi-llm.dev/v1alpha1\napps: {delivery: fleet}\n")
    if sandbox.api.find(Ref(CRDS, "bundles.fleet.cattle.io")) is not None:
        pytest.skip("another test has brought Fleet's kinds")
    refused = commands.run("apply", "--config", str(settings), check=False)
    assert refused.returncode in (1, 3)
    assert "Fleet" in refused.stderr
    assert sandbox.api.find(Ref(CONFIGMAPS, "conf", namespace)) is None


def test_helm_installs_the_chart_of_all_apps(
    sandbox: Sandbox, commands: Commands, namespace: str, helm: Helm, tmp_path: Path
) -> None:
    path = commands.run("render", "--format", "helm", "-o", str(tmp_path / "out")).stdout.strip()
    assert path == str(tmp_path / "out" / "llm-stack")
    commands.run("render", "--format", "helm", "-o", str(tmp_path / "out"))  # over what is there
    own = ["--kubeconfig", str(sandbox.kubeconfig), "--namespace", namespace]

    def run(*argv: str) -> str:
        done = subprocess.run(
            [str(executables.paths(sandbox.settings)["helm"]), *argv, *own], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    rendered = [
        obj for obj in yaml.safe_load_all(commands.run("render").stdout) if obj["kind"] != "Namespace"
    ]
    for obj in (templated := list(yaml.safe_load_all(run("template", "llm-stack", path)))):
        obj["metadata"].setdefault("namespace", namespace)
    assert sorted(map(str, keys(templated))) == sorted(map(str, keys(rendered)))

    run("install", "llm-stack", path, "--wait", "--timeout", "60s")
    assert sandbox.api.get(Ref(CONFIGMAPS, "conf", namespace))["data"] == {"a": "a"}
    assert sandbox.api.find(Ref(CLUSTER_CLASSES, "docker-llm-clusterclass", namespace)) is None
    run("upgrade", "llm-stack", path, "--set", "provider=docker", "--set", f"{namespace}-conf.text=b")
    assert sandbox.api.get(Ref(CONFIGMAPS, "conf", namespace))["data"] == {"a": "b"}
    assert sandbox.api.find(Ref(CLUSTER_CLASSES, "docker-llm-clusterclass", namespace)) is not None
    wrong = subprocess.run(
        [str(executables.paths(sandbox.settings)["helm"]), "template", path, "--set", "provider=vsphere"],
        capture_output=True,
        text=True,
    )
    assert "provider must be one of" in wrong.stderr
    # capi-llm does not take over what helm has: it names it.
    refused = commands.run("apply", f"{namespace}-conf", check=False)
    assert refused.returncode == 1
    assert "helm owns .data.a" in refused.stderr
    run("uninstall", "llm-stack")


def test_the_shipped_apps_on_a_kwok_cluster(sandbox: Sandbox, namespace: str) -> None:
    """One command from nothing to a cluster with its apps ready; run again, it writes nothing."""
    made = sandbox.cli("new-cluster", "llm", "-n", namespace, "--workers", "1..3", "--apps", "openwebui")
    assert "✓ openwebui" in made.stderr
    assert "3 apps ready" in made.stderr, "what it needs came too"
    before = sandbox.ctx.sandbox.audit_log.stat().st_size
    again = sandbox.cli("new-cluster", "llm", "-n", namespace, "--workers", "1..3", "--apps", "openwebui")
    assert "3 apps ready: nothing was changed." in again.stderr
    planned = sandbox.cli("plan", "llm", "-n", namespace, "--apps", "openwebui", "--exit-code")
    assert planned.stdout.startswith(f"= Cluster {namespace}/llm: no change\nPlan: 1 unchanged.\n")
    assert f"= Apps of {namespace}/llm: no change\nApps: " in planned.stdout
    more = ("llm", "-n", namespace, "--apps", "openwebui,ollama", "--exit-code")
    changes = sandbox.cli("plan", *more, check=False)
    assert changes.returncode == 5, changes.stdout + changes.stderr
    assert "    + Deployment llm/ollama: would be created\n" in changes.stdout
    assert writes(sandbox.ctx.sandbox.audit_log, agent="capi-llm/", after=before) == []

    shown = sandbox.cli("status", "llm", "-n", namespace).stdout.splitlines()[-1]
    assert shown.startswith(f"Simulated of {namespace}/llm: nodes and pods")
    (view,) = json.loads(sandbox.cli("status", "llm", "-n", namespace, "-o", "json").stdout)["clusters"]
    assert shown.endswith(f": {view['simulated']}")
    listed = json.loads(sandbox.cli("apps", "list", "llm", "-n", namespace, "-o", "json").stdout)
    (litellm,) = [row["simulated"] for row in listed["apps"] if row["name"] == "litellm"]
    assert ("a real LiteLLM" in view["simulated"]) == ("answered by a real LiteLLM" in litellm)
    states = {row["name"]: row["state"] for row in listed["apps"]}
    assert states["openwebui"] == states["litellm"] == states["litellm-config"] == "Ready"
    assert states["ollama"] == "not delivered"
    assert states["calico"] == "not in sandbox"
    key = sandbox.cli(
        "kubeconfig", "llm", "-n", namespace, "--", "kubectl", "get", "secret", "-n", "llm", "litellm", "-o",
        "jsonpath={.data.master-key}",
    ).stdout  # fmt: skip
    assert len(key) > 50
    assert sandbox.api.find(Ref(SECRETS, "litellm", "llm")) is None, "not on the management side"

    unknown = sandbox.cli("new-cluster", "other", "-n", namespace, "--apps", "olama", check=False)
    assert unknown.returncode == 2
    assert "did you mean 'ollama'" in unknown.stderr
    late = sandbox.cli("apps", "apply", "llm", "-n", namespace, "--timeout", "60s", "--no-wait", "ollama")
    assert "5 apps" not in late.stderr
    none = sandbox.cli("new-cluster", "llm", "-n", namespace, "--apps", "none")
    assert "apps ready" not in none.stderr
