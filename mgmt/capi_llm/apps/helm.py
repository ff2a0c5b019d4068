"""helm, which renders charts, checks values by their schema, and brings charts of others.

Values go to it on its standard input and never into its command line or a file.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capi_llm.apps.bundle import CHART_FILE, SCHEMA_FILE, Bundle
from capi_llm.apps.engine import Release
from capi_llm.apps.values import place_of
from capi_llm.errors import BadInput, CommandFailed
from capi_llm.tools.helm import Chart, Program, unfit_values, words
from capi_llm.waiting import Cancel

_PROPERTY = re.compile(r"Additional property (\S+) is not allowed")


@dataclass(frozen=True)
class Facts:
    """What a chart can ask about the cluster that it is rendered for."""

    version: str = ""
    """``v1.33.0``; empty: what helm takes by itself."""

    apis: tuple[str, ...] = ()
    """``apps/v1`` and ``apps/v1/Deployment``."""


class Helm:
    """The helm at ``path``; what it brings is kept under ``cache``. Thread-safe."""

    def __init__(
        self, path: Path, cache: Path, *, offline: bool = False, cancel: Cancel | None = None
    ) -> None:
        self._program = Program(path, cache, offline=offline, cancel=cancel)

    def template(self, release: Release, facts: Facts) -> str:
        """The release's manifests as YAML. Raises BadInput with the place of a value that does not fit."""
        bundle = release.bundle
        chart = bundle.folder if bundle.chart is None else self.pull(bundle.chart, bundle)
        if bundle.chart is not None and bundle.schema is not None:
            self._check(release)
        argv: list[str | Path] = ["template", release.name, chart, "--namespace", release.namespace]
        argv += ["--include-crds", "--skip-tests"]
        if facts.version:
            argv += ["--kube-version", facts.version]
        for api in facts.apis:
            argv += ["--api-versions", api]
        return self._run(argv, release, release.values)

    def pull(self, chart: Chart, bundle: Bundle) -> Path:
        """The archive of ``chart``: see :meth:`capi_llm.tools.helm.Program.pull`."""
        return self._program.pull(
            chart,
            on=f"app {bundle.name}",
            fix=f"correct {bundle.document.at('helm')}, or let this machine reach the repository",
        )

    def set(self, values: Mapping[str, Any], sets: Sequence[str]) -> dict[str, Any]:
        """``values`` with helm's own ``--set`` over them."""
        with tempfile.TemporaryDirectory(prefix="capi-llm-") as folder:
            _write_chart(Path(folder), {})
            argv: list[str | Path] = ["template", "values", folder]
            for text in sets:
                argv += ["--set", text]
            try:
                done = self._program.run([*argv, "--values", "-"], stdin=json.dumps(values))
            except CommandFailed as error:
                why = words(error.output)
                raise BadInput("--set can not be read", on=" ".join(sets), why=why) from error
        found: dict[str, Any] = json.loads(done.partition("# Source: values/templates/values.yaml\n")[2])
        return found

    def _check(self, release: Release) -> None:
        """Check values of somebody else's chart by the schema of the bundle."""
        with tempfile.TemporaryDirectory(prefix="capi-llm-") as folder:
            _write_chart(Path(folder), release.bundle.schema or {})
            self._run(["template", "values", folder], release, release.values)

    def _run(self, argv: list[str | Path], release: Release, values: Mapping[str, Any]) -> str:
        try:
            return self._program.run([*argv, "--values", "-"], stdin=json.dumps(values))
        except CommandFailed as error:
            raise _bad_values(release, error.output) from error


def _bad_values(release: Release, output: str) -> BadInput:
    why = words(output)
    problems = unfit_values(output)
    if problems is None:
        return BadInput(
            f"app {release.app} can not be rendered",
            on=str(release.bundle.folder),
            why=why,
            fix=f"correct the values of {release.app}, or its chart",
        )
    said = []
    for path, text in problems:
        path = "" if path == "(root)" else path
        extra = _PROPERTY.search(text)
        full = f"{path}.{extra[1]}".lstrip(".") if extra else path
        said.append((place_of(release, full), text))
    place = said[0][0] if said else f"app {release.app}"
    return BadInput(
        f"{place}: the value does not fit app {release.app}",
        why="; ".join(text for _, text in said) or why,
        fix=f"its values: {release.bundle.folder / SCHEMA_FILE}",
    )


def _write_chart(folder: Path, schema: Mapping[str, Any]) -> None:
    """A chart that says its values."""
    (folder / "templates").mkdir()
    (folder / CHART_FILE).write_text("apiVersion: v2\nname: values\nversion: 0.0.0\n")
    (folder / "templates" / "values.yaml").write_text("{{ toJson .Values }}\n")
    if schema:
        (folder / SCHEMA_FILE).write_text(json.dumps(schema))
