"""What all tests share: settings of their own, and one sandbox for the whole session."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from capi_llm import plane
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, NAMESPACES, Ref
from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from capi_llm.steps.context import Context, Plane
from capi_llm.waiting import Waiter, pending, ready, until


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


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Settings with a state folder of the test's own; the executables come from the real cache."""
    with own_settings() as settings:
        yield settings


@contextlib.contextmanager
def own_settings() -> Iterator[Settings]:
    # Not pytest's tmp_path: unix sockets need a short path.
    folder = Path(tempfile.mkdtemp(prefix="capi-llm-"))
    try:
        found = replace(
            Settings.from_environment(), state=folder / "state", kubeconfigs=folder / "kubeconfigs", plane=""
        )
        executables.bring(found)
        yield found
        for name in (path.name for path in (folder / "state" / "sandboxes").glob("*")):
            plane.destroy(found, name=name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(settings: Settings, name: str) -> Iterator[Sandbox]:
    """Bootstrap the sandbox ``name`` and connect to it."""
    plane.bootstrap(settings, name=name)
    with plane.connected(settings, name) as here:
        identity = here.identity
        ctx = Context(settings, Plane(plane.Identities(settings.state), identity))
        yield Sandbox(name, settings, here.api(), Path(identity.kubeconfig), ctx)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """One sandbox for all tests that need a real API server with Cluster API; none of them breaks it."""
    with own_settings() as settings:
        try:
            with running(settings, "test") as sandbox:
                yield sandbox
        finally:
            plane.destroy(settings, name="test")


@pytest.fixture
def namespace(sandbox: Sandbox) -> Iterator[str]:
    """A namespace of the test's own; its clusters are deleted at the end, and waited for."""
    name = f"t-{secrets.token_hex(4)}"
    sandbox.api.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    for cluster in sandbox.api.list(CLUSTERS, name):
        sandbox.api.delete(CLUSTERS.ref(cluster))
    until(
        lambda: pending("clusters are being deleted") if sandbox.api.list(CLUSTERS, name) else ready(),
        what=f"the clusters of {name}",
        timeout=120,
        waiter=Waiter(interval=0.2),
    )
    sandbox.api.delete(Ref(NAMESPACES, name))
