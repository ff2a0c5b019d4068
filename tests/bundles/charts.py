"""The bundles as folders, and helm on them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
BUNDLES = ROOT / "bundles"
NAMES = sorted(path.parent.name for path in BUNDLES.glob("*/fleet.yaml"))
OWN = sorted(path.parent.name for path in BUNDLES.glob("*/Chart.yaml"))
"""Those with a chart of ours; the others refer to somebody else's."""

WRITTEN_BY_OTHERS = ("global",)
"""Values that Fleet and Helm write into any chart."""

Values = Mapping[str, Any]
Leaf = tuple[str, ...]


def read(name: str, file: str) -> Any:
    text = (BUNDLES / name / file).read_text()
    return json.loads(text) if file.endswith(".json") else yaml.safe_load(text)


def schema(name: str) -> dict[str, Any]:
    return read(name, "values.schema.json")


def defaults(name: str) -> dict[str, Any]:
    """What holds where nobody says anything."""
    return read(name, "values.yaml") if name in OWN else read(name, "fleet.yaml")["helm"].get("values", {})


def leaves(found: Mapping[str, Any], above: Leaf = ()) -> Iterator[tuple[Leaf, Mapping[str, Any]]]:
    """Every setting of a schema: what is no map with known words."""
    for name, about in found["properties"].items():
        if not above and name in WRITTEN_BY_OTHERS:
            continue
        if about.get("type") == "object" and "properties" in about:
            yield from leaves(about, (*above, name))
        else:
            yield (*above, name), about


def at(values: Any, path: Leaf) -> Any:
    """The value at ``path``; None where there is none."""
    for word in path:
        values = values.get(word) if isinstance(values, Mapping) else None
    return values


def tree(path: Leaf, value: Any) -> dict[str, Any]:
    """Values that say one thing."""
    for word in reversed(path):
        value = {word: value}
    return value


class Helm:
    """The real helm of the parts cache, without the user's settings and plugins."""

    def __init__(self, path: Path, home: Path) -> None:
        self._path = path
        self._env = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": "/dev/null"}

    def run(self, *argv: str | Path, values: Values | None = None) -> subprocess.CompletedProcess[str]:
        command = [self._path, *argv, "--values", "-"]
        return subprocess.run(
            command, env=self._env, input=json.dumps(values or {}), text=True, capture_output=True
        )

    def template(
        self, name: str, values: Values, namespace: str = "llm", chart: Path | None = None
    ) -> list[dict[str, Any]]:
        """The objects of bundle ``name``; fails the test where helm does not render them."""
        release = read(name, "fleet.yaml")["helm"]["releaseName"]
        done = self.run(
            "template", release, chart or BUNDLES / name, "--namespace", namespace, "--include-crds",
            values=values,
        )  # fmt: skip
        assert done.returncode == 0, f"{name} with {values}: {done.stderr}"
        return [obj for obj in yaml.safe_load_all(done.stdout) if obj]

    def refusal(self, name: str, values: Values) -> str:
        """What helm says against ``values``; empty where it renders them."""
        done = self.run("template", name, BUNDLES / name, values=values)
        return done.stderr if done.returncode else ""
