"""``config``, ``--config``, and what commands make of settings; without any plane."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from capi_llm import versions
from capi_llm.cli.main import run
from capi_llm.settings.table import BY_VARIABLE, SETTINGS

HEAD = "apiVersion: capi-llm.dev/v1alpha1\n"
KEY = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name in BY_VARIABLE or name.startswith("CAPI_LLM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CAPI_LLM_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CAPI_LLM_HOST_NETWORKS", "10.20.0.0/16")
    monkeypatch.chdir(tmp_path)


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    assert run([*argv, "-o", "json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_config_shows_every_setting_with_its_origin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.yaml").write_text(f"{HEAD}cluster:\n  workers: 2\n  controlPlane: 3\n")
    (tmp_path / ".env").write_text(f"NGROK_API_KEY={KEY}\n")
    found = shown(capsys, "--name", "demo", "config", "--config", "my.yaml")
    assert (found["apiVersion"], found["file"]) == (versions.API_VERSION, "my.yaml")
    by_name = {item["name"]: item for item in found["settings"]}
    assert list(by_name) == [setting.path for setting in SETTINGS]

    def origin(name: str) -> tuple[Any, str, str]:
        return by_name[name]["value"], by_name[name]["source"], by_name[name]["place"]

    assert origin("plane.name") == ("demo", "flag", "--name")
    assert origin("cluster.workers") == ("2", "file", "my.yaml:3")
    assert origin("cluster.controlPlane") == (3, "file", "my.yaml:4")
    assert origin("cluster.version") == (versions.WORKLOAD_KUBERNETES, "default", "")
    assert origin("folders.state") == (str(tmp_path / "state"), "environment", "CAPI_LLM_STATE")
    assert origin("host.networks") == (["10.20.0.0/16"], "environment", "CAPI_LLM_HOST_NETWORKS")
    assert origin("ngrok.apiKey") == ("****", ".env", ".env:1 NGROK_API_KEY")
    assert run(["config", "--config=my.yaml"]) == 0
    table = capsys.readouterr().out
    assert "my.yaml:3" in table
    assert "****" in table
    assert KEY not in table


def test_config_changes_nothing_and_refuses_what_other_commands_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config"]) == 0
    assert not (tmp_path / "state").exists()
    capsys.readouterr()
    monkeypatch.setenv("CAPI_LLM_CLUSTER_PODS", "10.20.30.0/24")
    assert run(["config"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "CAPI_LLM_CLUSTER_PODS: '10.20.30.0/24' overlaps" in err


@pytest.mark.parametrize(
    "command", [["status"], ["planes", "list"], ["bootstrap", "--dry-run"], ["destroy", "--yes"]]
)
def test_a_wrong_file_ends_every_command_before_it_begins(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "capi-llm.yaml").write_text(f"{HEAD}cluster:\n  worker: 2\n")
    assert run(command) == 2
    assert "capi-llm.yaml:3: 'cluster.worker' is not known" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("which", ["settings", "cluster"])
def test_the_schema_is_one(which: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(capsys, "config", "schema", which)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["additionalProperties"] is False
    assert run(["config", "schema", which, "-o", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == found


def test_settings_are_under_the_file_and_the_flags_of_new_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "capi-llm.yaml").write_text(
        f"{HEAD}cluster: {{version: v1.31.0, controlPlane: 3, serviceDomain: a.b, labels: {{team: a}}}}\n"
    )
    machines = "in-memory-llm-clusterclass"
    (tmp_path / "spec.yaml").write_text(
        f"{HEAD}kind: ClusterSpec\nname: demo\nclass: {machines}\ncontrolPlane: 5\n"
    )
    made = shown(capsys, "new-cluster", "-f", "spec.yaml", "--version", "v1.32.0", "--dry-run")
    assert made["spec"]["topology"]["version"] == "v1.32.0"
    assert made["spec"]["topology"]["controlPlane"]["replicas"] == 5
    assert made["spec"]["clusterNetwork"]["serviceDomain"] == "a.b"
    assert made["metadata"]["labels"]["team"] == "a"
    said = json.loads(made["metadata"]["annotations"]["capi-llm.dev/intent"])
    assert said == {"name": "demo", "class": machines, "version": "v1.32.0", "controlPlane": 5}


def test_new_cluster_keeps_apart_from_the_host_wherever_it_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.yaml").write_text(f"{HEAD}kind: ClusterSpec\nname: demo\npods: 10.20.0.0/16\n")
    for argv, place in (
        (["demo", "--pods", "10.20.0.0/16"], "--pods: '10.20.0.0/16'"),
        (["-f", "spec.yaml"], "spec.yaml:4: pods: '10.20.0.0/16'"),
    ):
        assert run(["new-cluster", *argv, "--dry-run"]) == 2
        err = capsys.readouterr().err
        assert place in err
        assert "use 192.168.0.0/16" in err
    monkeypatch.setenv("CAPI_LLM_HOST_NETWORKS", "192.168.0.0/16")
    assert run(["new-cluster", "demo", "--dry-run"]) == 0  # the default, which nobody said
    monkeypatch.setenv("CAPI_LLM_HOST_NETWORKS", "none")
    assert run(["new-cluster", "demo", "--pods", "10.20.0.0/16", "--dry-run"]) == 0


def test_bootstrap_takes_name_and_kind_of_the_plane(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "capi-llm.yaml").write_text(f"{HEAD}plane: {{name: mine, kind: sandbox}}\n")
    assert run(["bootstrap", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert "will be a sandbox" not in err  # it was said
    assert "certificates" in out
    monkeypatch.setenv("CAPI_LLM_PLANE_KIND", "kindd")
    assert run(["bootstrap", "--dry-run"]) == 2
    assert "CAPI_LLM_PLANE_KIND: plane kind 'kindd' is not known" in capsys.readouterr().err
