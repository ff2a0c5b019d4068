"""One cluster with simulated pods for all tests of port-forwarding."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from capi_llm.kube.resources import NAMESPACES
from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from simulated_pods import World, world


@pytest.fixture(scope="session")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = executables.bring(Settings.from_environment())
    with world(found, tmp_path_factory.mktemp("forward"), "a", "b", "kourier", "dead") as made:
        made.backends["dead"].close()  # nothing listens behind this one
        yield made


@pytest.fixture(autouse=True)
def streams_wait(pods: World) -> Iterator[None]:
    for backend in pods.backends.values():
        backend.go_on.clear()
    yield
    for backend in pods.backends.values():
        backend.go_on.set()


_names = iter(range(10**6))


@pytest.fixture
def namespace(pods: World) -> str:
    """A namespace of the test's own."""
    name = f"f{os.getpid()}-{next(_names)}"
    pods.api.create(NAMESPACES, {"metadata": {"name": name}})
    return name
