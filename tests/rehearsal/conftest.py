"""One sandbox for the rehearsals of a module: what a command makes and destroys for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from capi_llm.kube.client import Api
from capi_llm.rehearsal import stage
from sandboxes import own_settings


@pytest.fixture(scope="module")
def place() -> Iterator[Api]:
    with own_settings() as settings, stage.stage(settings) as found:
        yield found.api
