"""Fixtures for the tests of ``capi_llm.kube``: a real API server, and one that follows a script.

An API server of its own, and not the sandbox's: these tests kill it, and compact its etcd.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_server import ScriptedServer

from capi_llm.kube import kubeconfig
from capi_llm.kube.client import Api
from capi_llm.kube.resources import NAMESPACES
from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from control_plane import ControlPlane, Pki


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Python's ssl.SSLSocket does not close itself where the peer resets the connection before the
    handshake, which happens while an API server dies: the garbage collector closes it, and warns."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            warning = "ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
            item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    found = executables.bring(Settings.from_environment())
    plane = ControlPlane(found, tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def api(control_plane: ControlPlane) -> Iterator[Api]:
    with Api.from_kubeconfig(control_plane.kubeconfig) as client:
        yield client


_names = iter(range(10**6))


@pytest.fixture
def namespace(api: Api) -> str:
    """A namespace of the test's own."""
    name = f"t{os.getpid()}-{next(_names)}"
    api.create(NAMESPACES, {"metadata": {"name": name}})
    return name


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Any]:
    """Make an Api of a :class:`ScriptedServer`: ``api, server = scripted(answer, answer, …)``."""
    pki = Pki(tmp_path)
    pki.issue("server", server=True)
    with contextlib.ExitStack() as stack:

        def make(*answers: bytes, retry_for: float = 10.0) -> tuple[Api, ScriptedServer]:
            server = ScriptedServer(pki, list(answers))
            stack.callback(server.close)
            path = tmp_path / "scripted.yaml"
            config = kubeconfig.build(server.url, name="scripted", ca=pki.ca, token="secret-token")
            kubeconfig.write(path, kubeconfig.render(config))
            return stack.enter_context(Api.from_kubeconfig(path, retry_for=retry_for)), server

        yield make
