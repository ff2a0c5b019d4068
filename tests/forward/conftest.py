"""One cluster with simulated pods for all tests of port-forwarding."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from simulated_pods import World, world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """An API server that dies during a handshake: see the same function in tests/kube/conftest.py."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            warning = "ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
            item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = executables.bring(Settings.from_environment())
    with world(found, tmp_path_factory.mktemp("forward"), "a", "b", "kourier", "dead") as made:
        dead = made.backends["dead"]
        port = dead.port
        dead.close()
        with socket.socket() as taken:  # nothing listens behind this one, and nobody else gets its port
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            yield made
