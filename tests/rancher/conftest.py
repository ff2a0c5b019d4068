"""One control plane and one chart repository for all tests of charts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
import standin_charts
from bare_plane import bare
from standin_charts import Repository

from capi_llm.kube.client import Api
from capi_llm.kube.resources import NAMESPACES, Ref
from capi_llm.steps.context import Context


@pytest.fixture(scope="session")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """All stand-in charts, served."""
    repository = Repository(tmp_path_factory.mktemp("charts") / "repository")
    standin_charts.publish_all(repository)
    yield repository
    repository.close()


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
