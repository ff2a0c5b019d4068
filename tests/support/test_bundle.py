"""``support-bundle``, of a plane that works, of one that is half broken, and of none."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from capi_llm.identity import Identities, Identity
from capi_llm.kube.resources import CLUSTERS, CONFIGMAPS, SECRETS
from capi_llm.sandbox.layout import layout
from capi_llm.settings import Settings
from sandboxes import IN_MEMORY, Sandbox

PLANTED = "Pl4nted-Bundle"

Files = dict[str, str]


def unpacked(path: Path) -> Files:
    """The bundle's files by their path below its one folder."""
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        assert len({member.name.split("/")[0] for member in members}) == 1
        assert {member.mode for member in members} == {0o600}
        found = {}
        for member in members:
            file = archive.extractfile(member)
            assert isinstance(file, io.BufferedReader)
            found[member.name.partition("/")[2]] = file.read().decode()
        return found


def bundle(
    settings: Settings, *argv: str, exit: int = 0, cwd: Path, **env: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "capi_llm", "support-bundle", *argv],
        env={
            **os.environ,
            "CAPI_LLM_STATE": str(settings.state),
            "CAPI_LLM_CACHE": str(settings.cache),
            "CAPI_LLM_PLANE": "",
            **env,
        },
        cwd=cwd,
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == exit, done.stderr
    return done


def missing(files: Files) -> dict[str, str]:
    index: dict[str, Any] = json.loads(files["index.json"])
    assert index["apiVersion"] == "capi-llm.dev/v1alpha1"
    assert {item["path"] for item in index["files"]} == set(files) - {"index.json"}
    return {item["path"]: item["why"] for item in index["missing"]}


def test_without_a_plane_it_says_what_it_lacks(settings: Settings, tmp_path: Path) -> None:
    done = bundle(settings, cwd=tmp_path)
    path = Path(done.stdout.strip())
    assert path.parent == tmp_path
    assert path.name.startswith("capi-llm-support-sandbox-")
    files = unpacked(path)
    assert {"version.json", "settings.json", "doctor.json"} <= set(files)
    assert {"plane.json", "status.json", "logs"} <= set(missing(files))
    assert "Not in it: plane.json: there is no management plane" in done.stderr
    assert not settings.state.exists()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_there_is_replaced_only_by_force(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    path.write_text("mine")
    done = bundle(settings, "-f", str(path), exit=1, cwd=tmp_path)
    assert "--force" in done.stderr
    assert done.stdout == ""
    assert path.read_text() == "mine"
    done = bundle(settings, "-f", "b.tar.gz", "--force", "-o", "json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert answer["path"] == str(path)
    assert answer["apiVersion"] == "capi-llm.dev/v1alpha1"
    assert unpacked(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_plane_that_does_not_answer_is_not_in_the_way(settings: Settings, tmp_path: Path) -> None:
    where = layout(settings.state, "broken")
    identity = Identity("broken", "sandbox", str(where.admin_kubeconfig), "a", ports={"kube-apiserver": 1})
    Identities(settings.state).save(identity)
    where.logs.mkdir(parents=True)
    where.log("capi-core").write_text(f"a line\nthe password={PLANTED} was\nlast\n")
    where.log("etcd").write_text("x" * 100 + "\n" + f"token: {PLANTED}\n" + "y\n" * 1024 * 1024)
    before = sorted(settings.state.rglob("*"))
    files = unpacked(Path(bundle(settings, cwd=tmp_path).stdout.strip()))
    assert sorted(settings.state.rglob("*")) == before
    assert files["logs/capi-core.log"] == "a line\nthe password=*** was\nlast\n"
    assert files["logs/etcd.log"].startswith("y\ny\n")
    noted = {item["path"]: item.get("note") for item in json.loads(files["index.json"])["files"]}
    assert noted["logs/etcd.log"].startswith("the last 2097152 of")
    assert json.loads(files["plane.json"])["plane"]["name"] == "broken"
    assert "there is no kubeconfig" in missing(files)["objects"]


def test_a_plane_file_that_is_broken_is_told(settings: Settings, tmp_path: Path) -> None:
    path = Identities(settings.state).path("broken")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    logs = layout(settings.state, "broken").logs
    logs.mkdir(parents=True)
    (logs / "etcd.log").write_text("a line\n")
    files = unpacked(Path(bundle(settings, cwd=tmp_path).stdout.strip()))
    assert "can not be read" in missing(files)["plane.json"]
    assert files["logs/etcd.log"] == "a line\n"


@pytest.mark.sandbox
def test_of_a_plane_that_works_it_has_everything_but_secrets(
    sandbox: Sandbox, namespace: str, tmp_path: Path
) -> None:
    value = f"{PLANTED}-{namespace}"
    encoded = base64.b64encode(value.encode()).decode()
    sandbox.api.create(
        SECRETS,
        {"metadata": {"name": "mine", "namespace": namespace}, "type": "Opaque", "data": {"colour": encoded}},
    )
    # A value that stands in a Secret is known by itself, wherever else it stands.
    sandbox.api.create(
        CONFIGMAPS, {"metadata": {"name": "copy", "namespace": namespace}, "data": {"colour": f"is {value}"}}
    )
    sandbox.cli("new-cluster", "small", "-n", namespace, *IN_MEMORY, "--workers", "0", "--no-wait")
    sandbox.api.merge_patch(
        CLUSTERS.ref({"metadata": {"name": "small", "namespace": namespace}}),
        {"metadata": {"annotations": {"example.org/api-token": "annotated-" + PLANTED}}},
    )
    path = tmp_path / "b.tar.gz"
    done = sandbox.cli("support-bundle", "-f", str(path))
    assert done.stdout == f"{path}\n"
    files = unpacked(path)
    assert missing(files) == {}
    everything = "\n".join(files.values())
    assert PLANTED not in everything
    assert encoded not in everything
    assert "PRIVATE KEY" not in everything
    assert "client-key-data" not in everything
    assert "managedFields" not in everything
    secrets = json.loads(files["secrets.json"])["secrets"]
    mine = [item for item in secrets if item["namespace"] == namespace and item["name"] == "mine"]
    assert mine == [{"namespace": namespace, "name": "mine", "type": "Opaque", "keys": ["colour"]}]
    maps = list(yaml.safe_load_all(files[f"objects/{namespace}/configmaps.yaml"]))
    copy = next(item for item in maps if item["metadata"]["name"] == "copy")
    assert copy["data"] == {"colour": "is ***"}
    (cluster,) = yaml.safe_load_all(files[f"objects/{namespace}/clusters.cluster.x-k8s.io.yaml"])
    assert cluster["metadata"]["annotations"]["example.org/api-token"] == "***"
    assert cluster["spec"]["topology"]["class"]
    logs = {name for name in files if name.startswith("logs/")}
    assert {
        f"logs/{part}.log" for part in ("etcd", "kube-apiserver", "capi-core", "supervisor", "audit")
    } <= logs
    assert json.loads(files["status.json"])["plane"]["name"] == sandbox.name
    assert json.loads(files["plane.json"])["plane"] == dataclasses.asdict(sandbox.ctx.identity)
    assert {item["kind"] for item in json.loads(files["doctor.json"])["planes"]} == {"sandbox", "kind"}
    assert json.loads(files["events.json"])["events"]
