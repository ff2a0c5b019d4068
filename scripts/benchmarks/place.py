"""Where a benchmark runs: the commands that are compared, and a sandbox of the run's own."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from sandboxes import Sandbox, own_settings, running

CAPI_LLM = Path(sys.executable).parent / "capi-llm"


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    runs: int = 20
    """Of commands that take less than a few seconds."""
    rounds: int = 3
    """Of what takes longer."""
    objects: int = 500
    clusters: int = 200
    workers: int = 5
    many: int = 20
    """Clusters made at once."""
    megabytes: int = 1024
    """Of one transfer (MiB)."""
    connections: int = 200
    """Open at once."""


QUICK = Sizes(runs=2, rounds=1, objects=20, clusters=3, workers=1, many=2, megabytes=16, connections=10)


@dataclass
class Place:
    """One run of the benchmarks. ``plane`` names a sandbox that is there already, to use instead."""

    sizes: Sizes
    plane: str = ""
    say: Callable[[str], None] = lambda text: None
    folder: Path = field(default_factory=Path)
    kept: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    fleet: Any = None
    """The :class:`benchmarks.fleet.Fleet` that is kept, as two benchmarks need one."""

    @property
    def kubectl(self) -> Path:
        return executables.paths(Settings.from_environment())["kubectl"]

    @property
    def clusterctl(self) -> Path:
        return executables.paths(Settings.from_environment())["clusterctl"]

    @contextlib.contextmanager
    def sandbox(self, *, fresh: bool = False) -> Iterator[Sandbox]:
        """A sandbox that is destroyed at the end, or the one that was named unless it must be ``fresh``."""
        self.release()
        if self.plane and not fresh:
            with running(Settings.from_environment(), self.plane) as found:
                yield found
            return
        with own_settings() as settings:
            self.say("making a sandbox")
            with running(settings, "bench") as made:
                yield made

    def release(self) -> None:
        """Give up the sandbox that is kept, so that nothing runs beside what is measured next."""
        self.fleet = None
        self.kept.close()

    def env(self, sandbox: Sandbox | None = None) -> dict[str, str]:
        """The environment of a command: both programs act on ``sandbox`` without being told."""
        env = {**os.environ, "KUBECACHEDIR": str(self.folder / "kube-cache")}
        if sandbox is not None:
            env |= {**sandbox.env, "KUBECONFIG": str(sandbox.kubeconfig)}
            env["KUBECACHEDIR"] = str(self.folder / f"kube-cache-{sandbox.settings.state.parent.name}")
        return env


@contextlib.contextmanager
def place(sizes: Sizes, plane: str, say: Callable[[str], None]) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="capi-llm-bench-") as folder:
        here = Place(sizes, plane, say, Path(folder))
        with contextlib.closing(here.kept):
            yield here
