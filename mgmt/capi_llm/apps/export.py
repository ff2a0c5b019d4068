"""All apps as one Helm chart, for those who install with helm alone.

The chart ``llm-stack`` has one chart below it for each app, with the values that the app has on the cluster
that it was written for. ``provider: docker`` brings the ClusterClass for Docker too, for a management
cluster; ``provider: apps`` the apps alone. Helm makes no Secrets: the notes say which have to be there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from capi_llm import documents, versions
from capi_llm.apps.bundle import CHART_FILE, FILE, SCHEMA_FILE
from capi_llm.apps.engine import Release
from capi_llm.apps.helm import Helm
from capi_llm.errors import CapiLlmError, Refused

NAME = "llm-stack"
PROVIDERS = ("docker", "apps")
CLASS = ("clusterclasses", "docker-llm", "class.yaml")

_CLASS_TEMPLATE = """\
{{- if eq .Values.provider "docker" }}
{{ .Files.Get "files/class.yaml" }}
{{- end }}
"""
"""Not as a template: ClusterClasses have ``{{ }}`` of their own."""

_NOTES = """\
The apps are in namespace {{ .Release.Namespace }}. Helm has made no Secrets. There have to be:
  Secret litellm, key master-key: LiteLLM's key, which begins with sk-
  Secret openwebui, keys webui-secret-key (any long random text) and openai-api-key (LiteLLM's key)
"""


def write(folder: Path, releases: Sequence[Release], helm: Helm) -> Path:
    """Write the chart of ``releases`` to ``folder``/llm-stack and return that.

    What an earlier call wrote there is replaced. Raises Refused where something else is there, CapiLlmError
    where it can not be written.
    """
    own = [release for release in releases if release.bundle.place == "workload"]
    path = folder / NAME
    if path.exists() and not _ours(path):
        raise Refused("there is something else already", on=str(path), fix="name another folder")
    try:
        if path.exists():
            shutil.rmtree(path)
        (path / "templates").mkdir(parents=True)
        (path / "files").mkdir()
        (path / "files" / "class.yaml").write_text(_class())
        (path / "templates" / "class.yaml").write_text(_CLASS_TEMPLATE)
        (path / "templates" / "NOTES.txt").write_text(_NOTES)
        values: dict[str, Any] = {"provider": "apps"}
        below = []
        for release in own:
            below.append(_chart(path / "charts", release, helm))
            values[release.app] = dict(release.values)
        _write_yaml(path / "values.yaml", values)
        _write_yaml(path / CHART_FILE, _about(below))
        (path / SCHEMA_FILE).write_text(json.dumps(_schema(), indent=2) + "\n")
    except OSError as error:
        raise CapiLlmError(
            "the chart can not be written",
            on=str(path),
            why=error.strerror or str(error),
            fix="name another folder",
        ) from error
    return path


def _chart(folder: Path, release: Release, helm: Helm) -> dict[str, str]:
    """Put the chart of one app below ``folder``; returns it as a dependency."""
    bundle = release.bundle
    folder.mkdir(exist_ok=True)
    if bundle.chart is None:
        target = folder / bundle.name
        shutil.copytree(bundle.folder, target, ignore=shutil.ignore_patterns(FILE, "__pycache__"))
        document = documents.load((target / CHART_FILE).read_text(), str(target / CHART_FILE))[0]
        name, version = str(document.data["name"]), str(document.data["version"])
        repository = f"file://charts/{bundle.name}"
    else:
        archive = helm.pull(bundle.chart, bundle)
        shutil.copy(archive, folder / f"{bundle.chart.name}-{bundle.chart.version}.tgz")
        name, version, repository = bundle.chart.name, bundle.chart.version, bundle.chart.repo
    found = {"name": name, "version": version, "repository": repository}
    return found if name == bundle.name else {**found, "alias": bundle.name}


def _about(below: Sequence[dict[str, str]]) -> dict[str, Any]:
    return {
        "apiVersion": "v2",
        "name": NAME,
        "version": versions.CLI,
        "description": "The LLM apps of capi-llm, and the ClusterClass for Docker.",
        "annotations": {f"{versions.GROUP}/written-by": f"capi-llm {versions.CLI}"},
        "dependencies": list(below),
    }


def _schema() -> dict[str, Any]:
    text = "docker: the ClusterClass for Docker and the apps; apps: the apps alone."
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["provider"],
        "properties": {"provider": {"type": "string", "enum": list(PROVIDERS), "description": text}},
    }


def _class() -> str:
    package, *rest = CLASS
    return files(f"capi_llm.{package}").joinpath(*rest).read_text()


def _ours(path: Path) -> bool:
    try:
        found = yaml.safe_load((path / CHART_FILE).read_text())
    except (OSError, yaml.YAMLError):
        return False
    return isinstance(found, dict) and found.get("name") == NAME


def _write_yaml(path: Path, value: Any) -> None:
    path.write_text(documents.written(value))
