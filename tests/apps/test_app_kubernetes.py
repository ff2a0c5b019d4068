"""Apps as the Kubernetes of their cluster asks for them: another chart on an older one, by either engine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from apps_commands import Commands
from chart_repository import publish, served

import upstream
from audit import writes
from capi_llm.apps.fleet.kinds import BUNDLES, FLEET_CLUSTERS, HELM_OPS
from capi_llm.errors import NotFound
from capi_llm.kube.resources import CLUSTERS, CONFIGMAPS, Ref
from capi_llm.sandbox import executables
from sandboxes import Sandbox

pytestmark = pytest.mark.sandbox


UNCHECKED = "unsafe.topology.cluster.x-k8s.io/disable-update-version-check"
"""Annotation of a Cluster: its version may change, though nothing is there that would follow."""


class Cluster:
    """Cluster ``demo`` with a bundle of one app: chart 0.2.0, and 0.1.0 on Kubernetes 1.32."""

    def __init__(self, sandbox: Sandbox, namespace: str, folder: Path) -> None:
        self.app = f"{namespace}-theirs"
        self.commands = Commands(sandbox, namespace, folder)
        self._sandbox, self._namespace = sandbox, namespace

    def becomes(self, version: str) -> None:
        """Have its topology say ``version``; nobody makes anything of a Cluster that is paused."""
        api, ref = self._sandbox.api, Ref(CLUSTERS, "demo", self._namespace)
        if api.find(ref) is not None:
            api.merge_patch(ref, {"spec": {"topology": {"version": version}}})
            return
        topology = {"class": "kwok-llm-clusterclass", "classNamespace": "default", "version": version}
        metadata = {"name": ref.name, "namespace": ref.namespace, "annotations": {UNCHECKED: ""}}
        api.create(CLUSTERS, {"metadata": metadata, "spec": {"paused": True, "topology": topology}})

    def row(self) -> dict[str, Any]:
        rows = json.loads(self.commands.run("list", "-o", "json").stdout)["apps"]
        return next(row for row in rows if row["name"] == self.app)

    def has(self) -> str:
        """What the chart that is there has written."""
        return str(self._sandbox.api.get(Ref(CONFIGMAPS, "theirs", self._namespace))["data"]["a"])

    def writes_of(self, verb: str, *argv: str) -> list[str]:
        """What a command writes, but for leases."""
        log = self._sandbox.ctx.sandbox.audit_log
        before = log.stat().st_size
        self.commands.run(verb, *argv)
        found = writes(log, agent="capi-llm/", after=before)
        return [item.uri for item in found if "/leases" not in item.uri]


@pytest.fixture
def demo(
    sandbox: Sandbox, workload: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    program = executables.paths(sandbox.settings)["helm"]
    with served(tmp_path / "repository", monkeypatch) as repository:
        publish(program, repository, tmp_path, "0.1.0", a="older")
        publish(program, repository, tmp_path, "0.2.0", a="newest")
        folder = tmp_path / "bundles" / "theirs"
        folder.mkdir(parents=True)
        selector = {"matchLabels": {"capi-llm.dev/kubernetes": "1.32"}}
        fleet = {
            "name": f"{namespace}-theirs",
            "defaultNamespace": namespace,
            "helm": {"chart": "theirs", "repo": repository.url, "version": "0.2.0"},
            "targetCustomizations": [
                {"clusterSelector": selector, "helm": {"version": "0.1.0", "values": {"n": 7}}}
            ],
        }
        (folder / "fleet.yaml").write_text(yaml.safe_dump(fleet))
        yield Cluster(sandbox, namespace, folder.parent)
        own = Ref(CLUSTERS, "demo", namespace)
        sandbox.api.delete(own)
        with contextlib.suppress(NotFound):
            sandbox.api.merge_patch(own, {"metadata": {"finalizers": None}})  # as it is paused


def test_the_version_follows_the_clusters_kubernetes(
    sandbox: Sandbox, demo: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.becomes("v1.32.2")
    row = demo.row()
    assert (row["state"], row["version"], row["fits"]) == ("not delivered", "0.1.0", True)
    demo.commands.run("apply")
    assert demo.has() == "older"
    assert sandbox.api.get(Ref(CONFIGMAPS, "size", namespace))["data"]["n"] == "7"
    assert demo.row()["version"] == "0.1.0"
    assert demo.writes_of("apply") == []
    assert demo.commands.run("diff", "--exit-code").returncode == 0

    demo.becomes("v1.32.9")
    assert demo.writes_of("apply") == [], "another patch of the same minor"

    demo.becomes("v1.33.0")
    changes = json.loads(demo.commands.run("diff", "-o", "json").stdout)["objects"]
    told = {(item["name"], change["old"], change["new"]) for item in changes for change in item["changes"]}
    assert told >= {("theirs", "older", "newest"), ("size", "7", "1")}, sorted(told)
    monkeypatch.setenv("CAPI_LLM_BUNDLE_DIR", str(demo.commands.folder))
    planned = sandbox.cli("plan", "demo", "-n", namespace, "-o", "json", check=False).stdout
    assert json.loads(planned)["apps"][0]["objects"] == changes
    demo.commands.run("apply")
    assert demo.has() == "newest"
    assert demo.row()["version"] == "0.2.0"
    assert demo.writes_of("apply") == []


def test_a_cluster_that_is_too_old_is_refused_before_anything_is_touched(
    sandbox: Sandbox, demo: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.becomes("v1.31.0")
    row = demo.row()
    assert (row["state"], row["fits"]) == ("not for Kubernetes 1.31", False)
    monkeypatch.setenv("CAPI_LLM_BUNDLE_DIR", str(demo.commands.folder))
    new = ("new-cluster", "old", "-n", namespace, "--version", "v1.31.0", "--apps", demo.app)
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    for done in (demo.commands.run("apply", check=False), sandbox.cli(*new, check=False)):
        assert done.returncode == 1, done.stderr
        assert f"app '{demo.app}' is not for Kubernetes 1.31" in done.stderr
        assert "fleet.yaml:" in done.stderr
        assert "targetCustomizations begins with 1.32" in done.stderr
    planned = sandbox.cli("plan", *new[1:], "-o", "json", check=False).stdout
    (entry,) = json.loads(planned)["apps"]
    assert (entry["action"], entry["verdict"]) == ("unknown", "refused")
    written = writes(log, agent="capi-llm/", after=before)
    assert [item.uri for item in written if "/leases" not in item.uri] == []
    assert sandbox.api.find(Ref(CLUSTERS, "old", namespace)) is None


def test_fleet_is_told_what_the_clusters_kubernetes_asks_for(
    sandbox: Sandbox, demo: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = sandbox.api
    upstream.install(api, "fleet")
    monkeypatch.setenv("CAPI_LLM_DELIVERY", "fleet")
    own = Ref(HELM_OPS, f"demo-{demo.app}", namespace)
    try:
        for version, chart, values in (("v1.32.2", "0.1.0", {"n": 7}), ("v1.33.0", "0.2.0", {})):
            demo.becomes(version)
            demo.commands.run("apply", "--no-wait")
            helm_op = api.get(own)
            assert helm_op["spec"]["helm"]["version"] == chart
            assert (helm_op["spec"]["helm"].get("values") or {}) == values
            assert helm_op["spec"]["targets"] == [{"clusterName": "demo"}]
            labels = api.get(Ref(FLEET_CLUSTERS, "demo", namespace))["metadata"]["labels"]
            assert version.startswith(f"v{labels['capi-llm.dev/kubernetes']}.")
            assert demo.row()["version"] == chart
            assert demo.writes_of("apply", "--no-wait") == []
    finally:
        for ref in (own, Ref(BUNDLES, own.name, namespace), Ref(FLEET_CLUSTERS, "demo", namespace)):
            if api.find(ref) is not None:
                api.delete(ref)
