"""Objects as a real Cluster API wrote them, by scenario."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from capi_llm.clusters.tree import Objects

DATA = Path(__file__).parent / "data"

Scenario = Callable[[str], Objects]


def read(name: str) -> list[dict]:
    return list(yaml.load_all((DATA / f"{name}.yaml").read_text(), Loader=yaml.CSafeLoader))


@pytest.fixture
def scenario() -> Scenario:
    """The objects of ``data/NAME.yaml``, grouped."""

    def load(name: str) -> Objects:
        objects = read(name)

        def of(kind: str) -> list[dict]:
            return [obj for obj in objects if obj["kind"] == kind]

        return Objects(of("Cluster"), of("KubeadmControlPlane"), of("MachineDeployment"), of("Machine"))

    return load
