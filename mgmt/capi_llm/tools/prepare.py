"""Having the sandbox's parts: explicit path, cache, official download, Go build, in this order.

Where nothing works, the error says for each part what was tried, what answered and
what to install. With a full cache nothing is started and no connection is made.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from capi_llm import http
from capi_llm.errors import BadInput, CapiLlmError, CommandFailed, NotFound, PrerequisiteMissing
from capi_llm.tools import components, toolchain
from capi_llm.tools.attempts import Attempt, Progress, quiet, report
from capi_llm.tools.cache import Entry, Found, Store
from capi_llm.tools.catalogue import CATALOGUE
from capi_llm.tools.gobuild import Builder, Target
from capi_llm.tools.parts import Graph, Part, Platform
from capi_llm.tools.releases import Releases
from capi_llm.waiting import Cancel

DOWNLOAD = "download"
BUILD = "build"
SOURCES = (DOWNLOAD, BUILD)
_GO = ".go"
"""The lock on the folders that builds work in; taken after those of the parts."""


def prepare(
    names: Iterable[str] | None = None,
    *,
    cache_dir: Path,
    explicit: Mapping[str, Path] | None = None,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
    offline: bool = False,
    sources: Sequence[str] = SOURCES,
    verify: bool = False,
    catalogue: Mapping[str, Part] = CATALOGUE,
    limits: http.Limits = http.PATIENT,
    go: Path | None = None,
) -> dict[str, Path]:
    """Have the parts ``names`` (default: all) on this machine and return where each is.

    An executable part is the path of the executable, ``capi-components`` a folder.
    ``explicit`` maps part names to the user's own. ``verify`` reads every byte of what is
    in the cache. ``offline`` uses no network: explicit, cache, or a build by the Go at
    hand (``go``, default: on PATH) from modules it has. Can be run again at any time,
    and by several processes at once.

    Raises BadInput (unknown name, an explicit path that can not be right),
    PrerequisiteMissing with a report by part, Interrupted.
    """
    wanted = _named(list(catalogue) if names is None else names, catalogue)
    own = _checked(explicit or {}, catalogue)
    run = _Run(
        catalogue=catalogue,
        own=own,
        store=Store(cache_dir),
        platform=Platform.here(),
        progress=progress,
        cancel=cancel,
        offline=offline,
        limits=limits,
        go=go,
    )
    missing = run.missing(wanted, every_byte=verify)
    if missing:
        missing = run.missing(_with_needs(missing, catalogue), every_byte=verify)
        run.make(missing, [source for source in SOURCES if source in sources], every_byte=verify)
    return {name: own.get(name) or run.path(name) for name in wanted}


def find(
    names: Iterable[str],
    *,
    cache_dir: Path,
    explicit: Mapping[str, Path] | None = None,
    catalogue: Mapping[str, Part] = CATALOGUE,
) -> dict[str, Path]:
    """Where the parts are that are here already; makes nothing. Raises NotFound naming what is not."""
    wanted = _named(names, catalogue)
    own = _checked(explicit or {}, catalogue)
    run = _Run(catalogue, own, Store(cache_dir), Platform.here())
    missing = run.missing(wanted, every_byte=False)
    if missing:
        raise NotFound(
            "parts of the sandbox are not here", on=", ".join(missing), fix="run `capi-llm sandbox prepare`"
        )
    return {name: own.get(name) or run.path(name) for name in wanted}


def missing(
    names: Iterable[str],
    *,
    cache_dir: Path,
    explicit: Mapping[str, Path] | None = None,
    catalogue: Mapping[str, Part] = CATALOGUE,
) -> list[str]:
    """Those of ``names`` that are not here; makes nothing."""
    own = _checked(explicit or {}, catalogue)
    return _Run(catalogue, own, Store(cache_dir), Platform.here()).missing(
        _named(names, catalogue), every_byte=False
    )


@dataclass
class _Run:
    """One call of :func:`prepare`."""

    catalogue: Mapping[str, Part]
    own: Mapping[str, Path]
    store: Store
    platform: Platform
    progress: Progress = quiet
    cancel: Cancel | None = None
    offline: bool = False
    limits: http.Limits = http.PATIENT
    go: Path | None = None

    def path(self, name: str) -> Path:
        """Where a part is in the cache."""
        part = self.catalogue[name]
        folder = self.store.folder(name, part.key(self.platform))
        return folder if part.folder else folder / part.files[0]

    def missing(self, names: Sequence[str], *, every_byte: bool) -> list[str]:
        """Those that are neither given nor whole in the cache."""
        return [
            name
            for name in names
            if name not in self.own and self._look(name, every_byte).found is not Found.WHOLE
        ]

    def _look(self, name: str, every_byte: bool) -> Entry:
        if every_byte:
            self.progress(name, "checking every byte", None)
        return self.store.look(name, self.catalogue[name].key(self.platform), every_byte=every_byte)

    def make(self, names: Sequence[str], sources: Sequence[str], *, every_byte: bool) -> None:
        """Make the parts ``names``, unless another process has meanwhile. Raises PrerequisiteMissing."""

        def waits(lock: str, holder: str) -> None:
            doing = "is building with Go" if lock == _GO else f"is making {lock}"
            self.progress("go" if lock == _GO else lock, f"waiting for {holder}, which {doing}", None)

        tried: dict[str, list[Attempt]] = {name: [] for name in names}
        with self.store.locked(names, cancel=self.cancel, waits=waits):
            left = [name for name in names if self._clear(name, every_byte, tried[name])]
            for source in sources:
                if left and source == DOWNLOAD:
                    left = self._download(left, tried)
                elif left and source == BUILD:
                    with self.store.locked([_GO], cancel=self.cancel, waits=waits):
                        left = self._build(left, tried)
        if left:
            raise _nothing_worked(left, tried)

    def _clear(self, name: str, every_byte: bool, tried: list[Attempt]) -> bool:
        """Make room for a part under its lock; False if it is there after all."""
        self.store.sweep(name)
        entry = self._look(name, every_byte)
        if entry.found is Found.BROKEN:
            aside = self.store.put_aside(name, self.catalogue[name].key(self.platform))
            self.progress(name, f"broken in the cache ({entry.why}); put aside as {aside}", None)
            tried.append(Attempt("the cache", f"{entry.why}; put aside as {aside}"))
        return entry.found is not Found.WHOLE

    def _download(self, names: Sequence[str], tried: Mapping[str, list[Attempt]]) -> list[str]:
        releases = Releases(self.store, self.platform, self.progress, self.cancel, self.limits)
        left = []
        for name in names:
            if self.offline:
                attempt: Attempt | None = Attempt("official download", "not tried: offline")
            else:
                attempt = releases.fetch(self.catalogue[name])
            if attempt is None:
                self.progress(name, "downloaded", 1.0)
            else:
                tried[name].append(attempt)
                left.append(name)
        return left

    def _build(self, names: Sequence[str], tried: Mapping[str, list[Attempt]]) -> list[str]:
        scratch = self.store.root / "go"
        try:
            go = toolchain.find(
                scratch, progress=self.progress, cancel=self.cancel, offline=self.offline, program=self.go
            )
        except toolchain.NoGo as error:
            for name in names:
                tried[name] += error.attempts
            return list(names)
        work = self.store.root / "work"
        left: list[str] = []
        try:
            for graph, parts in _by_graph([self.catalogue[name] for name in names]):
                builder = Builder(
                    go,
                    graph,
                    work / graph.name,
                    offline=self.offline,
                    progress=self.progress,
                    cancel=self.cancel,
                )
                left += self._build_graph(builder, go, parts, tried)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        if not left:
            go.done(self.progress)
        return left

    def _build_graph(
        self,
        builder: Builder,
        go: toolchain.Go,
        parts: Sequence[Part],
        tried: Mapping[str, list[Attempt]],
    ) -> list[str]:
        """Build the parts of one graph, executables together and first; returns those that failed."""
        origin = {"built by": go.version}
        programs = [part for part in parts if not part.folder]
        left = []
        try:
            targets = [Target(part.name, part.sources[part.name].package) for part in programs]
            for name, path in (builder.build(targets) if targets else {}).items():
                self._install(self.catalogue[name], {name: path}, origin)
        except (CommandFailed, PrerequisiteMissing) as error:
            for part in programs:
                tried[part.name].append(Attempt.of(f"Go build by {go.program} ({go.version})", error))
                left.append(part.name)
        for part in parts:
            if part.folder:
                try:
                    out = self.store.root / "work" / part.name
                    files = components.render(
                        part,
                        builder.module,
                        self._at("kubectl"),
                        out,
                        progress=self.progress,
                        cancel=self.cancel,
                    )
                    self._install(part, files, origin)
                except (CommandFailed, PrerequisiteMissing) as error:
                    tried[part.name].append(Attempt.of("kubectl kustomize of its modules", error))
                    left.append(part.name)
        return left

    def _at(self, name: str) -> Path:
        return self.own.get(name) or self.path(name)

    def _install(self, part: Part, files: Mapping[str, Path], origin: Mapping[str, str]) -> None:
        self.store.install(part.name, part.key(self.platform), files, origin)
        shutil.rmtree(self.store.root / "downloads" / part.name, ignore_errors=True)
        self.progress(part.name, "built", 1.0)


def _by_graph(parts: Iterable[Part]) -> list[tuple[Graph, list[Part]]]:
    groups: dict[str, tuple[Graph, list[Part]]] = {}
    for part in parts:
        graph = next(iter(part.sources.values())).graph
        groups.setdefault(graph.name, (graph, []))[1].append(part)
    return list(groups.values())


def _named(names: Iterable[str], catalogue: Mapping[str, Part]) -> list[str]:
    wanted = list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in catalogue]
    if unknown:
        raise BadInput(
            "there is no such part", on=", ".join(unknown), fix=f"name some of: {', '.join(catalogue)}"
        )
    return wanted


def _with_needs(names: Sequence[str], catalogue: Mapping[str, Part]) -> list[str]:
    needed = [need for name in names for need in catalogue[name].needs]
    return list(dict.fromkeys([*needed, *names]))


def _checked(explicit: Mapping[str, Path], catalogue: Mapping[str, Part]) -> dict[str, Path]:
    """The user's own parts. Raises BadInput for a path that can not be one."""
    own = {}
    for name, path in explicit.items():
        part = catalogue[_named([name], catalogue)[0]]
        if part.folder:
            lacking = [file for file in part.files if not (path / file).is_file()]
            why = f"it has no {', '.join(lacking)}" if lacking else ""
        elif not path.is_file():
            why = "it is not a file" if path.exists() else "it is not there"
        else:
            why = "" if os.access(path, os.X_OK) else "it is not executable"
        if why:
            raise BadInput(
                f"the path given for {name} can not be used",
                on=str(path),
                why=why,
                fix=f"correct CAPI_LLM_PART_{name.upper().replace('-', '_')}, or leave it out",
            )
        own[name] = path.absolute()
    return own


def _nothing_worked(names: Sequence[str], tried: Mapping[str, Sequence[Attempt]]) -> CapiLlmError:
    fixes = dict.fromkeys(attempt.fix for name in names for attempt in tried[name] if attempt.fix)
    return PrerequisiteMissing(
        f"{len(names)} of the sandbox's parts can not be had",
        why=report({name: tried[name] for name in names}),
        fix="\n    or ".join(fixes) or "allow more sources",
    )
