"""What all tests share: settings of their own, and one sandbox for the whole session."""

from __future__ import annotations

import contextlib
import logging
import secrets
import signal
from collections.abc import Iterator

import hypothesis
import pytest

from capi_llm import plane
from capi_llm.clusters import delete
from capi_llm.kube.cache import Informers
from capi_llm.kube.resources import CLUSTERS, NAMESPACES, Ref
from capi_llm.settings import Settings
from sandboxes import Sandbox, own_settings, running

# A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that;
# tests send it to themselves and to what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one input takes says more about the machine than about the code.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """What a command line in the test's own process switches on (-v) does not reach the next test."""
    loggers = [logging.getLogger(), logging.getLogger("capi_llm")]
    before = [(logger, list(logger.handlers), logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Settings with a state folder of the test's own; the executables come from the real cache."""
    with own_settings() as settings:
        yield settings


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
    with contextlib.closing(Informers(sandbox.api)) as informers:
        for cluster in sandbox.api.list(CLUSTERS, name):
            delete.delete(informers, cluster["metadata"]["name"], name, timeout=120)
    sandbox.api.delete(Ref(NAMESPACES, name))
