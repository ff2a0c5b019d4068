"""Small bundles for tests, written where the test wants them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from capi_llm.apps import fleetfile
from capi_llm.apps.bundle import Bundle
from capi_llm.apps.engine import Release

CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME}
data: {a: A}
"""

SERVER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, labels: {app: NAME}}
spec:
  replicas: {{ .Values.replicas | default 1 }}
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      tolerations: [{operator: Exists}]
      containers: [{name: main, image: 'example.com/server:1'}]
"""


def config(name: str, **data: str) -> str:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    return yaml.safe_dump(manifest)


def server(name: str) -> str:
    return SERVER.replace("NAME", name)


def make(
    folder: Path,
    name: str,
    templates: Mapping[str, str],
    *,
    namespace: str = "llm",
    schema: Mapping[str, Any] | None = None,
    chart: Mapping[str, Any] | None = None,
    **fleet: Any,
) -> Bundle:
    """A bundle ``name`` in ``folder``; what was there of it before is replaced."""
    path = folder / name
    (path / "templates").mkdir(parents=True, exist_ok=True)
    for old in (path / "templates").iterdir():
        old.unlink()
    (path / "fleet.yaml").write_text(yaml.safe_dump({"name": name, "defaultNamespace": namespace} | fleet))
    about = {"apiVersion": "v2", "name": name, "version": "0.1.0"} | dict(chart or {})
    (path / "Chart.yaml").write_text(yaml.safe_dump(about))
    for file, text in templates.items():
        (path / "templates" / f"{file}.yaml").write_text(text)
    if schema is not None:
        (path / "values.schema.json").write_text(json.dumps(schema))
    return fleetfile.read(path)


def release(bundle: Bundle, **values: Any) -> Release:
    return Release(bundle, bundle.release, bundle.namespace, {**bundle.values, **values})
