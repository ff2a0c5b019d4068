"""The real helm of the parts cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from charts import Helm

from capi_llm.sandbox import executables
from capi_llm.settings import Settings


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    path: Path = executables.bring(Settings.from_environment())["helm"]
    return Helm(path, tmp_path_factory.mktemp("helm"))
