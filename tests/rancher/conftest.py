"""A control plane for charts: a sandbox without Cluster API, whose pods KWOK says to be ready."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import standin_charts
from standin_charts import Repository

from capi_llm import plane
from capi_llm.identity import Identities
from capi_llm.kube.client import Api
from capi_llm.kube.resources import NAMESPACES, Ref
from capi_llm.steps.context import Context, Plane
from sandboxes import own_settings

CONTROL_PLANE = tuple(
    step for step in plane.SANDBOX if not step.name.startswith(("capi", "cluster", "kwok-"))
)
BARE = CONTROL_PLANE[: [step.name for step in CONTROL_PLANE].index("simulated-node") + 1]


@pytest.fixture(scope="session")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """All stand-in charts, served."""
    repository = Repository(tmp_path_factory.mktemp("charts") / "repository")
    standin_charts.publish_all(repository)
    yield repository
    repository.close()


@contextlib.contextmanager
def bare(name: str, cache: Path | None = None) -> Iterator[Context]:
    """A control plane of its own, destroyed at the end."""
    with own_settings() as settings:
        plane.bootstrap(settings, name=name, recipe=BARE)
        identities = Identities(settings.state)
        found = identities.find(name)
        assert found is not None
        here = Plane(identities, found)
        try:
            yield Context(settings, here)
        finally:
            here.close()
            plane.destroy(settings, name=name)


@pytest.fixture(scope="session")
def ctx() -> Iterator[Context]:
    """One control plane for tests that keep to a namespace of their own."""
    with bare("charts") as ctx:
        yield ctx


@pytest.fixture
def api(ctx: Context) -> Api:
    return ctx.api()


@pytest.fixture
def own(api: Api) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"t-{secrets.token_hex(4)}"
    api.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    api.delete(Ref(NAMESPACES, name))
