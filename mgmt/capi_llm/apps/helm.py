"""helm, which renders charts, checks values by their schema, and brings charts of others.

Values go to it on its standard input and never into its command line or a file.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capi_llm import shell
from capi_llm.apps.bundle import CHART_FILE, SCHEMA_FILE, Bundle, Chart
from capi_llm.apps.engine import Release
from capi_llm.apps.values import place_of
from capi_llm.errors import BadInput, CapiLlmError, CommandFailed
from capi_llm.files import private_folder, write_private
from capi_llm.settings import command_environment
from capi_llm.waiting import Cancel

_SECONDS = 120.0
_SCHEMA_ERROR = "meet the specifications of the schema"
_PROBLEM = re.compile(r"^- (?P<path>[^:]+): (?P<text>.+)$", re.MULTILINE)
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
        self._path = path
        self._charts = cache / "charts"
        self._offline = offline
        self._cancel = cancel
        home = cache / "helm"
        self._env = command_environment(
            HELM_CACHE_HOME=str(home / "cache"),
            HELM_CONFIG_HOME=str(home / "config"),
            HELM_DATA_HOME=str(home / "data"),
            HELM_PLUGINS=str(home / "plugins"),
            HELM_NAMESPACE="",
            KUBECONFIG="/dev/null",
        )

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
        """The archive of ``chart``: from the cache where it is there and whole, else from its repository.

        Raises CapiLlmError where it can not be had, or where one version has other bytes than before.
        """
        key = hashlib.sha256(f"{chart.repo}\n{chart.name}\n{chart.version}".encode()).hexdigest()[:16]
        base = chart.name.rpartition("/")[2]
        path, known = self._charts / f"{base}-{chart.version}-{key}.tgz", self._charts / f"{key}.sha256"
        digest = known.read_text().strip() if known.is_file() else ""
        if digest and path.is_file() and _sha256(path) == digest:
            return path
        if self._offline:
            raise CapiLlmError(
                f"chart {chart} is not in the cache",
                why="the network is not to be used",
                on=f"app {bundle.name}",
            )
        private_folder(self._charts)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=self._charts) as folder:
            argv: list[str | Path] = ["pull", chart.name, "--version", chart.version, "--destination", folder]
            if chart.repo:
                argv += ["--repo", chart.repo]
            try:
                self._shell(argv)
            except CommandFailed as error:
                raise CapiLlmError(
                    f"chart {chart} can not be had",
                    on=f"app {bundle.name}",
                    why=_words(error.output),
                    fix=f"correct {bundle.document.at('helm')}, or let this machine reach the repository",
                ) from error
            (archive,) = Path(folder).glob("*.tgz")
            now = _sha256(archive)
            if digest and digest != now:
                raise CapiLlmError(
                    f"chart {chart} is not what it was",
                    on=f"app {bundle.name}",
                    why=f"SHA-256 {now}, and {digest} when it was first used",
                    fix=f"find out why; if it is good, remove {known}",
                )
            shutil.move(archive, path)
        write_private(known, now + "\n")
        return path

    def set(self, values: Mapping[str, Any], sets: Sequence[str]) -> dict[str, Any]:
        """``values`` with helm's own ``--set`` over them."""
        with tempfile.TemporaryDirectory(prefix="capi-llm-") as folder:
            _write_chart(Path(folder), {})
            argv: list[str | Path] = ["template", "values", folder]
            for text in sets:
                argv += ["--set", text]
            try:
                done = self._shell([*argv, "--values", "-"], stdin=json.dumps(values))
            except CommandFailed as error:
                why = _words(error.output)
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
            return self._shell([*argv, "--values", "-"], stdin=json.dumps(values))
        except CommandFailed as error:
            raise _bad_values(release, error.output) from error

    def _shell(self, argv: Sequence[str | Path], *, stdin: str = "") -> str:
        done = shell.run(
            [self._path, *argv], env=self._env, stdin=stdin, timeout=_SECONDS, cancel=self._cancel
        )
        return done.stdout


def _bad_values(release: Release, output: str) -> BadInput:
    why = _words(output)
    if _SCHEMA_ERROR not in output:
        return BadInput(
            f"app {release.app} can not be rendered",
            on=str(release.bundle.folder),
            why=why,
            fix=f"correct the values of {release.app}, or its chart",
        )
    problems = list(_PROBLEM.finditer(output))
    said = []
    for problem in problems:
        path = "" if problem["path"] == "(root)" else problem["path"]
        extra = _PROPERTY.search(problem["text"])
        full = f"{path}.{extra[1]}".lstrip(".") if extra else path
        said.append((place_of(release, full), problem["text"]))
    place = said[0][0] if said else f"app {release.app}"
    return BadInput(
        f"{place}: the value does not fit app {release.app}",
        why="; ".join(text for _, text in said) or why,
        fix=f"its values: {release.bundle.folder / SCHEMA_FILE}",
    )


def _words(output: str) -> str:
    """What helm says, on one line, without its advice about itself."""
    lines = [line.strip().removeprefix("Error: ") for line in output.splitlines()]
    kept = [line for line in lines if line and not line.startswith(("Use --debug", "WARNING:"))]
    return " ".join(kept)


def _write_chart(folder: Path, schema: Mapping[str, Any]) -> None:
    """A chart that says its values."""
    (folder / "templates").mkdir()
    (folder / CHART_FILE).write_text("apiVersion: v2\nname: values\nversion: 0.0.0\n")
    (folder / "templates" / "values.yaml").write_text("{{ toJson .Values }}\n")
    if schema:
        (folder / SCHEMA_FILE).write_text(json.dumps(schema))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
