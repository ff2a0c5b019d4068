"""Sandboxes for tests: in folders of their own, destroyed at the end, whatever happens."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from capi_llm import plane
from capi_llm.errors import TimedOut
from capi_llm.identity import Identities
from capi_llm.kube.client import Api
from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from capi_llm.steps.context import Context, Plane

IN_MEMORY = ("--class", "default/in-memory-llm-clusterclass")
"""For tests of machines: with machines for the control plane, and without processes for each cluster."""


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that is ready. ``env`` is for command lines that are to act on it."""

    name: str
    settings: Settings
    api: Api
    kubeconfig: Path
    ctx: Context

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "CAPI_LLM_STATE": str(self.settings.state),
            "CAPI_LLM_CACHE": str(self.settings.cache),
            "CAPI_LLM_KUBECONFIGS": str(self.settings.kubeconfigs),
            "CAPI_LLM_PLANE": self.name,
        }

    def cli(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``capi-llm`` on this sandbox as a person would; with ``check``, it must end with 0."""
        if argv[:1] == ("new-cluster",) and "--apps" not in argv:
            argv = (*argv, "--apps", "none")  # most tests are about the cluster
        command = [sys.executable, "-m", "capi_llm", *argv]
        done = subprocess.run(command, env=self.env, text=True, capture_output=True)
        assert not check or done.returncode == 0, (
            f"{' '.join(argv)} ended with {done.returncode}: {done.stderr}"
        )
        return done


def times_out(wait: Callable[[], object], pattern: str) -> TimedOut:
    """``wait`` runs out of time with words that match ``pattern``; for a while it may do so with others, on a
    machine that does much else."""
    for _ in range(6):
        with pytest.raises(TimedOut) as caught:
            wait()
        if re.search(pattern, str(caught.value)):
            return caught.value
    raise AssertionError(f"{pattern!r} is not in: {caught.value}")


def without_charts(cache: Path, folder: Path) -> Path:
    """A cache of the test's own in ``folder``, with the executables of ``cache`` and without charts."""
    own = folder / "cache"
    own.mkdir()
    for name in ("parts", "locks"):
        (own / name).symlink_to(cache / name)
    return own


@contextlib.contextmanager
def own_settings() -> Iterator[Settings]:
    # Not pytest's tmp_path: unix sockets need a short path.
    folder = Path(tempfile.mkdtemp(prefix="capi-llm-"))
    try:
        found = replace(
            Settings.from_environment(),
            state=folder / "state",
            kubeconfigs=folder / "kubeconfigs",
            plane="",
            kind="sandbox",  # also where Docker answers
        )
        executables.bring(found)
        try:
            yield found
        finally:
            # Also after a failure: without the folder nothing would know which processes these are.
            for name in [path.name for path in (folder / "state" / "sandboxes").glob("*")]:
                plane.destroy(found, name=name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(settings: Settings, name: str) -> Iterator[Sandbox]:
    """Bootstrap the sandbox ``name`` and connect to it."""
    plane.bootstrap(settings, name=name, kind="sandbox")
    with plane.connected(settings, name) as here:
        identity = here.identity
        ctx = Context(settings, Plane(Identities(settings.state), identity))
        yield Sandbox(name, settings, here.api(), Path(identity.kubeconfig), ctx)
