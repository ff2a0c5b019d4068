"""Building parts from Go modules.

The parts of one module graph are built by one ``go build``, which compiles what they
share once. go.mod and go.sum come with this package, so the modules' content is pinned,
whatever proxy they come from. An interrupted build goes on where it stopped: compiled
packages stay in Go's cache.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from capi_llm import shell
from capi_llm.errors import CapiLlmError, CommandFailed
from capi_llm.tools.attempts import Progress
from capi_llm.tools.cache import writing
from capi_llm.tools.parts import Change, Graph
from capi_llm.tools.toolchain import Go
from capi_llm.waiting import Cancel

_IMPORT_PATH = re.compile(r"[\w.~-]+(/[\w.~+-]+)*")


@dataclass(frozen=True)
class Target:
    """An executable to build: the part that it is for, and its main package."""

    name: str
    package: str

    @property
    def built_as(self) -> str:
        """The name that ``go build -o DIR/`` gives it: the last element that is no major version."""
        *_, before, last = ["", *self.package.split("/")]
        return before if re.fullmatch(r"v[2-9]|v[1-9]\d+", last) else last


class Builder:
    """Builds from one graph, in ``work``, which the caller holds a lock on."""

    def __init__(
        self, go: Go, graph: Graph, work: Path, *, offline: bool, progress: Progress, cancel: Cancel | None
    ) -> None:
        self._go = go
        self._graph = graph
        self._work = work
        self._env = go.environment(offline=offline)
        self._progress = progress
        self._cancel = cancel
        with writing(work):
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            for name, text in graph.texts().items():
                (work / name).write_text(text)

    def build(self, targets: Sequence[Target]) -> dict[str, Path]:
        """Build ``targets`` and return each part's executable, in the work folder. Raises CommandFailed."""
        self._change_modules()
        needed = self._packages(targets)
        built: dict[str, Path] = {}
        meter = _Meter(needed, self._progress)
        # Two programs of one name can not be written to one folder.
        for number, batch in enumerate(_batches(targets)):
            out = self._work / f"out-{number}"
            out.mkdir()
            meter.begin(batch, out)
            self._run(
                ["build", "-v", "-ldflags", self._graph.ldflags, "-o", f"{out}/"]
                + [target.package for target in batch],
                meter,
            )
            built |= {target.name: out / target.built_as for target in batch}
        return built

    def _change_modules(self) -> None:
        """Build the graph's changed modules from copies with the changes made."""
        for path in sorted({change.module for change in self._graph.changes}):
            copy = self._changed(path)
            shutil.copytree(self.module(path), copy, copy_function=shutil.copyfile)
            for folder in [copy, *(item for item in copy.rglob("*") if item.is_dir())]:
                folder.chmod(0o755)  # the module cache is read-only, and so are copies of its folders
            for change in self._graph.changes:
                if change.module == path:
                    _change(copy / change.file, change)
            self._run(["mod", "edit", f"-replace={path}=./{copy.relative_to(self._work)}"])

    def module(self, path: str) -> Path:
        """The folder with a module's files, fetched if it is not here. Raises CommandFailed."""
        if self._changed(path).is_dir():
            return self._changed(path)
        self._progress("go", f"fetching module {path}", None)
        answer = json.loads(self._run(["mod", "download", "-json", path]).stdout)
        return Path(answer["Dir"])

    def _changed(self, path: str) -> Path:
        return self._work / "changed" / path

    def _packages(self, targets: Sequence[Target]) -> Mapping[str, set[str]]:
        """All packages that each target needs; fetches their modules."""
        form = '{{.ImportPath}} {{join .Deps " "}}'
        fetched = _Fetched(self._graph, self._progress)
        answer = self._run(["list", "-f", form, *(target.package for target in targets)], fetched)
        needed = {words[0]: set(words) for words in map(str.split, answer.stdout.splitlines()) if words}
        return {target.name: needed[target.package] for target in targets}

    def _run(self, argv: list[str], listener: _Listener | None = None) -> shell.Output:
        try:
            return shell.run(
                [self._go.program, *argv],
                env=self._env,
                cwd=self._work,
                cancel=self._cancel,
                on_line=listener.line if listener else None,
                on_tick=listener.tick if listener else None,
            )
        except CommandFailed as error:
            raise _explained(error) from error


class _Listener:
    """Follows what Go prints."""

    def line(self, text: str) -> None:
        """One line of output."""

    def tick(self) -> None:
        """Time has passed."""


class _Fetched(_Listener):
    """Counts modules as they come."""

    def __init__(self, graph: Graph, progress: Progress) -> None:
        self._progress = progress
        self._graph = graph.name
        self._count = 0
        progress("go", f"resolving the modules of {graph.name}", None)

    def line(self, text: str) -> None:
        if text.startswith("go: downloading "):
            self._count += 1
            module = " ".join(text.split()[2:4])
            self._progress("go", f"fetching modules for {self._graph}: {self._count} ({module})", None)


class _Meter(_Listener):
    """Turns the packages that Go names as it compiles them into a fraction of all.

    Packages in Go's cache are not named, so after an interruption the count is of what is
    left at most; which part a package is for is the first target that still needs it.
    """

    def __init__(self, needed: Mapping[str, set[str]], progress: Progress) -> None:
        self._needed = needed
        self._total = len(set().union(*needed.values()))
        self._compiled = 0
        self._linked = 0
        self._progress = progress
        self._batch: Sequence[Target] = ()
        self._out = Path()

    def begin(self, batch: Sequence[Target], out: Path) -> None:
        self._batch, self._out = batch, out
        self._linked = 0
        names = ", ".join(target.name for target in batch)
        self._progress("go", f"building {names}: {self._total} packages, less those already compiled", None)

    def line(self, text: str) -> None:
        if not _IMPORT_PATH.fullmatch(text):
            return
        self._compiled += 1
        part = next((target.name for target in self._batch if text in self._needed[target.name]), "go")
        fraction = min(1.0, self._compiled / self._total)
        self._progress(part, f"compiling {part}: {self._compiled} of {self._total} packages", fraction)

    def tick(self) -> None:
        linked = sum(1 for target in self._batch if (self._out / target.built_as).exists())
        if linked != self._linked:
            self._linked = linked
            self._progress("go", f"linked {linked} of {len(self._batch)} executables", None)


def _change(file: Path, change: Change) -> None:
    text = file.read_text()
    if text.count(change.before) != 1:
        raise CommandFailed(
            "a module is not as the change to it expects",
            code=1,
            on=f"{change.module}/{change.file}",
            why=f"{change.before.strip()!r} stands in it {text.count(change.before)} times",
            fix="report this: the change belongs to another version of the module",
        )
    file.write_text(text.replace(change.before, change.after))


def _batches(targets: Sequence[Target]) -> list[list[Target]]:
    batches: list[list[Target]] = []
    for target in targets:
        for batch in batches:
            if target.built_as not in {other.built_as for other in batch}:
                batch.append(target)
                break
        else:
            batches.append([target])
    return batches


def _explained(error: CommandFailed) -> CapiLlmError:
    """What Go says, without the list of packages that it compiled before it failed."""
    lines = [line for line in error.output.splitlines() if not _IMPORT_PATH.fullmatch(line)]
    text = "\n".join(lines[-12:]) or error.output
    fix = "let Go reach a module proxy (GOPROXY), or have the modules in its cache"
    if "no space left on device" in text:
        fix = "make room: a cold build takes about 5 GB in Go's caches and 1 GB for the parts"
    elif "SECURITY ERROR" in text:
        fix = "use another module proxy (GOPROXY): this one does not have what go.sum pins"
    elif "signal: killed" in text:
        fix = "give the build more memory: it takes up to 3 GB"
    return CommandFailed(error.what, code=error.code, output=error.output, why=text, fix=fix)
