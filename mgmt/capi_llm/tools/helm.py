"""helm as a program: its own folders, charts by their bytes, and what it says when it fails.

What is secret goes to it on its standard input, never into its command line.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from capi_llm import shell
from capi_llm.errors import CapiLlmError, CommandFailed, NotFound, PrerequisiteMissing
from capi_llm.files import private_folder, write_private
from capi_llm.settings import command_environment
from capi_llm.waiting import Cancel

SECONDS = 120.0

_NO_REPOSITORY = re.compile(r"(?:404 Not Found|not a valid chart repository|no API version specified)")
_UNREACHABLE = re.compile(
    r"connection refused|no such host|i/o timeout|network is unreachable|connection reset|EOF"
    r"|context deadline exceeded|Client\.Timeout|x509|tls: "
)
_NO_VERSION = re.compile(r'chart "[^"]+"(?: version "[^"]+")? not found|no chart version found|not found$')
_UNFIT = re.compile(r"^- (?P<path>[^:]+): (?P<text>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Chart:
    """A chart of somebody else, pinned. ``repo`` is empty where ``name`` is an ``oci://`` address."""

    name: str
    repo: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}" + (f" from {self.repo}" if self.repo else "")


class Program:
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

    def run(self, argv: Sequence[str | Path], *, stdin: str = "", timeout: float = SECONDS) -> str:
        """What helm prints. Raises CommandFailed, TimedOut, Interrupted."""
        done = shell.run(
            [self._path, *argv], env=self._env, stdin=stdin, timeout=timeout, cancel=self._cancel
        )
        return done.stdout

    def pull(self, chart: Chart, *, on: str, fix: str = "") -> Path:
        """The archive of ``chart``: from the cache where it is there and whole, else from its repository.

        ``on`` is what wants it, ``fix`` what to do where it can not be had. Raises PrerequisiteMissing
        where the repository can not be reached or is none, NotFound where it lacks the chart or its
        version, CapiLlmError where one version has other bytes than before.
        """
        key = hashlib.sha256(f"{chart.repo}\n{chart.name}\n{chart.version}".encode()).hexdigest()[:16]
        base = chart.name.rpartition("/")[2]
        path, known = self._charts / f"{base}-{chart.version}-{key}.tgz", self._charts / f"{key}.sha256"
        digest = known.read_text().strip() if known.is_file() else ""
        if digest and path.is_file() and sha256(path) == digest:
            return path
        if self._offline:
            raise PrerequisiteMissing(
                f"chart {chart} is not in the cache",
                on=on,
                why="the network is not to be used",
                fix="run it once where the network may be used, or take CAPI_LLM_OFFLINE away",
            )
        private_folder(self._charts)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=self._charts) as folder:
            argv: list[str | Path] = ["pull", chart.name, "--version", chart.version, "--destination", folder]
            if chart.repo:
                argv += ["--repo", chart.repo]
            try:
                self.run(argv)
            except CommandFailed as error:
                raise _not_had(chart, words(error.output), on, fix) from error
            (archive,) = Path(folder).glob("*.tgz")
            now = sha256(archive)
            if digest and digest != now:
                raise CapiLlmError(
                    f"chart {chart} is not what it was",
                    on=on,
                    why=f"SHA-256 {now}, and {digest} when it was first used",
                    fix=f"find out why; if it is good, remove {known}",
                )
            shutil.move(archive, path)
        write_private(known, now + "\n")
        return path


def _not_had(chart: Chart, why: str, on: str, fix: str) -> CapiLlmError:
    what = f"chart {chart} can not be had"
    if _NO_VERSION.search(why) and "404" not in why:
        return NotFound(what, on=on, why=why, fix=fix or f"see which versions {chart.repo} has")
    if _NO_REPOSITORY.search(why) and not _UNREACHABLE.search(why):
        return PrerequisiteMissing(
            what, on=on, why=why, fix=fix or f"check that {chart.repo}/index.yaml is there"
        )
    if _UNREACHABLE.search(why):
        return PrerequisiteMissing(
            what,
            on=on,
            why=why,
            fix=fix or "let this machine reach the repository: network, proxy (HTTPS_PROXY), certificates",
        )
    return CapiLlmError(what, on=on, why=why, fix=fix)


def words(output: str) -> str:
    """What helm says, on one line, without its advice about itself."""
    lines = [line.strip().removeprefix("Error: ") for line in output.splitlines()]
    kept = [line for line in lines if line and not line.startswith(("Use --debug", "WARNING:"))]
    return " ".join(kept)


def unfit_values(output: str) -> list[tuple[str, str]] | None:
    """Path and what is wrong of each value that does not fit a chart's schema, as far as ``output`` names
    them; None where that is not what failed."""
    if "meet the specifications of the schema" not in output:
        return None
    return [(found["path"], found["text"]) for found in _UNFIT.finditer(output)]


def sha256(path: Path) -> str:
    """The digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
