"""Releases as Bundles and HelmOps: what is in them, what is refused and with which number."""

from __future__ import annotations

import base64
import gzip
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capi_llm.apps.bundle import Customization
from capi_llm.apps.engine import Release, Target
from capi_llm.apps.fleet import objects, size
from capi_llm.apps.fleet.targets import Targets
from capi_llm.apps.fleetfile import read
from capi_llm.errors import BadInput

DEMO = Targets.of(Target("demo", "team"))
TEMPLATE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {model: {{ .Values.model }}}\n"


def release(
    folder: Path, fleet: str = "", files: Mapping[str, str | bytes] | None = None, **values: Any
) -> Release:
    """A release of a bundle that is written to ``folder``; without files, of a small chart."""
    folder.mkdir(exist_ok=True)
    (folder / "fleet.yaml").write_text(f"name: ollama\ndefaultNamespace: llm\n{fleet}")
    chart: dict[str, str | bytes] = {"Chart.yaml": "apiVersion: v2\nname: ollama\nversion: 0.1.0\n"}
    if "chart:" not in fleet:
        for name, content in (chart | dict(files or {"templates/a.yaml": TEMPLATE})).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    bundle = read(folder)
    return Release(bundle, bundle.release, bundle.namespace, values)


def made(of: Release, targets: Targets = DEMO, among: tuple[str, ...] = ()) -> dict[str, Any]:
    return objects.make(of, targets, among=among)


def test_a_chart_of_ours_is_a_bundle_with_its_files(tmp_path: Path) -> None:
    obj = made(release(tmp_path / "ollama", "labels: {team: a}\n", model="tinyllama"))
    assert (obj["apiVersion"], obj["kind"]) == ("fleet.cattle.io/v1alpha1", "Bundle")
    revision = obj["metadata"]["labels"].pop("capi-llm.dev/revision")
    assert len(revision) == 16
    assert obj["metadata"] == {
        "name": "demo-ollama",
        "namespace": "team",
        "labels": {
            "team": "a",
            "capi-llm.dev/app": "ollama",
            "capi-llm.dev/targets": "demo",
            "app.kubernetes.io/managed-by": "capi-llm",
        },
        "annotations": {"capi-llm.dev/chart-version": "0.1.0"},
    }
    spec = obj["spec"]
    assert spec["helm"] == {
        "releaseName": "ollama", "values": {"model": "tinyllama"}, "disablePreProcess": True,
    }  # fmt: skip
    assert spec["targets"] == [{"clusterName": "demo"}]
    assert spec["defaultNamespace"] == "llm"
    # Templates are for the agent's helm; fleet.yaml is for whoever makes the Bundle.
    assert [item["name"] for item in spec["resources"]] == ["Chart.yaml", "templates/a.yaml"]
    assert spec["resources"][1] == {"name": "templates/a.yaml", "content": TEMPLATE}


def test_a_chart_of_somebody_else_is_a_helm_op(tmp_path: Path) -> None:
    fleet = (
        "helm: {chart: metrics-server, repo: 'https://example.com', version: 3.12.2, takeOwnership: true}\n"
    )
    obj = made(release(tmp_path / "ollama", fleet, replicas=2))
    assert obj["kind"] == "HelmOp"
    assert obj["spec"]["helm"] == {
        "chart": "metrics-server", "repo": "https://example.com", "version": "3.12.2",
        "releaseName": "ollama", "values": {"replicas": 2}, "takeOwnership": True, "disablePreProcess": True,
    }  # fmt: skip
    assert "resources" not in obj["spec"]
    assert obj["spec"]["labels"]["capi-llm.dev/app"] == "ollama"


def test_an_oci_chart_is_a_repo_without_chart(tmp_path: Path) -> None:
    fleet = "helm: {chart: 'oci://example.com/charts/x', version: 1.0.0}\n"
    helm = made(release(tmp_path / "ollama", fleet))["spec"]["helm"]
    assert helm["repo"] == "oci://example.com/charts/x"
    assert "chart" not in helm


def test_only_what_is_delivered_too_is_waited_for(tmp_path: Path) -> None:
    of = release(tmp_path / "ollama", "dependsOn: [{name: knative}, {name: kourier}]\n")
    assert made(of, among=("knative", "litellm"))["spec"]["dependsOn"] == [{"name": "demo-knative"}]
    assert "dependsOn" not in made(of)["spec"]


def test_what_is_for_fleet_alone_is_passed_on(tmp_path: Path) -> None:
    fleet = (
        "diff: {comparePatches: [{apiVersion: apps/v1, kind: Deployment, jsonPointers: [/spec/replicas]}]}\n"
        "keepResources: true\ncorrectDrift: {enabled: true}\n"
    )
    spec = made(release(tmp_path / "ollama", fleet))["spec"]
    assert spec["diff"]["comparePatches"][0]["jsonPointers"] == ["/spec/replicas"]
    assert spec["keepResources"] is True
    assert spec["correctDrift"] == {"enabled": True}


def test_the_owner_takes_it_along(tmp_path: Path) -> None:
    owner = {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "Cluster",
        "metadata": {"name": "demo", "uid": "u"},
    }
    obj = objects.make(release(tmp_path / "ollama"), DEMO, among=(), owner=owner)
    assert obj["metadata"]["ownerReferences"] == [
        {"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster", "name": "demo", "uid": "u"}
    ]


def test_the_revision_stands_for_all_of_the_spec(tmp_path: Path) -> None:
    def revision(of: Release) -> str:
        return str(made(of)["metadata"]["labels"]["capi-llm.dev/revision"])

    first = revision(release(tmp_path / "ollama", a=1))
    assert revision(release(tmp_path / "ollama", a=1)) == first
    others = [
        revision(release(tmp_path / "ollama", a=2)),
        revision(release(tmp_path / "ollama", "keepResources: true\n", a=1)),
        revision(release(tmp_path / "ollama", files={"templates/b.yaml": "a: 1\n"}, a=1)),
    ]
    assert len({first, *others}) == 4


def test_the_same_folder_makes_the_same_object(tmp_path: Path) -> None:
    big = {"templates/b.yaml": "# x\n" * 100_000}
    of = release(tmp_path / "ollama", files=big)
    first = made(of)
    os.utime(tmp_path / "ollama/templates/b.yaml", (0, 0))
    assert made(of) == first


def test_clusters_labels_groups_and_values_for_one_of_them() -> None:
    both = Targets("prod", clusters=("a", "b"), labels={"env": "llm"}, overrides={"b": {"ollama": {"x": 1}}})
    assert both.entries("ollama") == [
        {"clusterName": "b", "helm": {"values": {"x": 1}}},
        {"clusterName": "a"},
        {"clusterSelector": {"matchLabels": {"env": "llm"}}},
    ]
    assert both.entries("litellm")[0] == {"clusterName": "a"}
    group = Targets("prod", labels={"env": "llm"}, group="gpu", overrides={"c": {"ollama": {"x": 2}}})
    assert group.entries("ollama") == [
        # c only where it also has the label and is of the group
        {
            "clusterName": "c", "clusterSelector": {"matchLabels": {"env": "llm"}}, "clusterGroup": "gpu",
            "helm": {"values": {"x": 2}},
        },
        {"clusterSelector": {"matchLabels": {"env": "llm"}}, "clusterGroup": "gpu"},
    ]  # fmt: skip


def test_clusters_of_an_older_kubernetes_come_before_the_others() -> None:
    older = Customization("1.31", "1.0.0"), Customization("1.32", values={"x": 0, "y": 0})
    targets = Targets("prod", clusters=("a",), labels={"env": "llm"}, overrides={"a": {"ollama": {"x": 1}}})

    def on(minor: str, *more: tuple[str, str]) -> dict[str, Any]:
        return {"clusterSelector": {"matchLabels": {**dict(more), "capi-llm.dev/kubernetes": minor}}}

    assert targets.entries("ollama", older) == [
        {"clusterName": "a", **on("1.31"), "helm": {"version": "1.0.0", "values": {"x": 1}}},
        {"clusterName": "a", **on("1.32"), "helm": {"values": {"x": 1, "y": 0}}},
        {"clusterName": "a", "helm": {"values": {"x": 1}}},
        {**on("1.31", ("env", "llm")), "helm": {"version": "1.0.0"}},
        {**on("1.32", ("env", "llm")), "helm": {"values": {"x": 0, "y": 0}}},
        {"clusterSelector": {"matchLabels": {"env": "llm"}}},
    ]


def test_a_secret_in_a_customization_is_refused(tmp_path: Path) -> None:
    of = release(tmp_path / "ollama")
    own = Customization("1.32", values={"apiKey": "abc"})
    with pytest.raises(BadInput, match=r"values of ollama on Kubernetes 1\.32: apiKey is a secret"):
        made(replace(of, bundle=replace(of.bundle, customizations=(own,))))


def test_which_clusters_are_meant() -> None:
    clusters = [
        {"metadata": {"name": "a"}},
        {"metadata": {"name": "b", "labels": {"env": "llm", "x": "y"}}},
        {"metadata": {"name": "c", "labels": {"env": "dev"}}},
    ]
    assert Targets("t", clusters=("a",), labels={"env": "llm"}).matching(clusters) == ["a", "b"]
    assert Targets("t", group="g").matching(clusters) == []


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        (lambda: Targets("prod"), "no cluster is said"),
        (lambda: Targets("Prod!", clusters=("a",)), "not a valid name"),
        (lambda: Targets("p", clusters=("a b",)), "not a valid name"),
        (lambda: Targets("p", clusters=("demo",), overrides={"dmo": {}}), "did you mean 'demo'"),
        (lambda: Targets("p", clusters=("a",)).bundle("x" * 62), "not a valid name"),
    ],
)
def test_targets_that_are_refused(targets: Any, text: str) -> None:
    with pytest.raises(BadInput, match=text):
        targets()


SECRET = "apiVersion: v1\nkind: {}\nmetadata: {{name: a}}\nstringData: {{}}\n"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("templates/a.yaml", SECRET.format("Secret"), 2),
        ("templates/b.yaml", f"{TEMPLATE}---\n{SECRET.format('Secret # mine')}", 7),
        ("crds/c.json", '{\n  "apiVersion": "v1",\n  "kind": "Secret"\n}', 3),
        ("files/key.pem", "\n-----BEGIN RSA PRIVATE KEY-----\nx", 2),
    ],
)
def test_a_secret_in_a_chart_is_refused_with_its_place(
    tmp_path: Path, name: str, content: str, line: int
) -> None:
    with pytest.raises(BadInput, match=rf"{name}:{line}: .*has a Secret in it"):
        made(release(tmp_path / "ollama", files={name: content}))


def test_what_only_speaks_of_secrets_is_let_through(tmp_path: Path) -> None:
    files = {
        "templates/a.yaml": "kind: SecretStore\nenv: [{valueFrom: {secretKeyRef: {name: litellm}}}]\n",
        "templates/b.yaml": "valuesFrom:\n- kind: Secret\n  name: a\nresources: [secrets]\n",
    }
    values = {
        "existingSecret": "litellm", "imagePullSecrets": ["regcred"], "secretName": "x", "maxTokens": "4096",
        "env": [{"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}],
        "models": [{"api_key": "os.environ/OLLAMA_KEY"}],
        "masterKeySecret": {"name": "litellm", "key": "master-key"},
    }  # fmt: skip
    assert made(release(tmp_path / "ollama", files=files, **values))["kind"] == "Bundle"


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"db": {"password": "hunter2"}}, "db.password"),
        ({"env": [{"name": "OPENAI_API_KEY", "value": "hunter2"}]}, r"env\[0\].value"),
        ({"note": "sk-hunter2hunter2"}, "note"),
        ({"a": ["x", "-----BEGIN PRIVATE KEY-----\nhunter2"]}, r"a\[1\]"),
        ({"url": "postgres://me:hunter2@db/x"}, "url"),
    ],
)
def test_a_value_that_is_secret_is_refused_and_not_repeated(
    tmp_path: Path, values: dict[str, Any], place: str
) -> None:
    with pytest.raises(BadInput, match=place) as caught:
        made(release(tmp_path / "ollama", **values))
    assert "hunter2" not in str(caught.value)
    only_there = Targets("prod", clusters=("a",), overrides={"a": {"ollama": values}})
    with pytest.raises(BadInput, match=rf"ollama on a: {place}"):
        made(release(tmp_path / "ollama"), only_there)


def test_large_files_are_compressed_and_small_ones_stay_readable(tmp_path: Path) -> None:
    crds = "description: a long word\n" * 40_000
    obj = made(release(tmp_path / "ollama", files={"crds/big.yaml": crds, "templates/a.yaml": TEMPLATE}))
    by_name = {item["name"]: item for item in obj["spec"]["resources"]}
    assert by_name["templates/a.yaml"]["content"] == TEMPLATE
    assert by_name["crds/big.yaml"]["encoding"] == "base64+gz"
    assert gzip.decompress(base64.b64decode(by_name["crds/big.yaml"]["content"])).decode() == crds


def test_what_is_no_text_is_compressed(tmp_path: Path) -> None:
    obj = made(release(tmp_path / "ollama", files={"files/logo.png": b"\x89PNG\xff\x00"}))
    logo = obj["spec"]["resources"][1]
    assert gzip.decompress(base64.b64decode(logo["content"])) == b"\x89PNG\xff\x00"


def test_too_large_for_fleet_is_refused_with_the_number(tmp_path: Path) -> None:
    noise = os.urandom(1_000_000)
    with pytest.raises(BadInput, match=r"its files have 1\d{6} bytes compressed") as caught:
        made(release(tmp_path / "ollama", files={"files/model.bin": noise}))
    assert "less than 1000000; the largest is files/model.bin with 1000000" in str(caught.value)


def test_too_large_for_etcd_is_refused_with_the_number(tmp_path: Path) -> None:
    values = {f"key{number}": "v" * 1000 for number in range(1600)}
    with pytest.raises(BadInput, match=r"1\d{6} bytes as an object") as caught:
        made(release(tmp_path / "ollama", **values))
    assert str(size.LARGEST_OBJECT) in str(caught.value)


def test_hidden_files_are_left_out_and_links_outside_are_refused(tmp_path: Path) -> None:
    files = {".git/config": "x", "templates/.a.swp": "x", ".helmignore": "x", "templates/a.yaml": TEMPLATE}
    of = release(tmp_path / "ollama", files=files)
    names = [item["name"] for item in made(of)["spec"]["resources"]]
    assert names == [".helmignore", "Chart.yaml", "templates/a.yaml"]
    (tmp_path / "elsewhere.yaml").write_text("a: 1\n")
    (tmp_path / "ollama/templates/b.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(BadInput, match="leads out of the bundle"):
        made(of)
