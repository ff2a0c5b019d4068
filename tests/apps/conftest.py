"""A workload cluster for the tests of apps: the session's sandbox itself, behind a Cluster object.

Its API server, controllers and simulated node are as real as those of a KWOK cluster, and are there.
"""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from capi_llm.apps.helm import Helm
from capi_llm.kube.resources import CLUSTERS, SECRETS
from capi_llm.sandbox import executables
from sandboxes import Sandbox


@pytest.fixture
def helm(sandbox: Sandbox, tmp_path: Path) -> Helm:
    return Helm(executables.paths(sandbox.settings)["helm"], tmp_path / "cache")


@pytest.fixture
def workload(sandbox: Sandbox, namespace: str) -> str:
    """The name of a Cluster to be made in ``namespace``; its kubeconfig leads to the sandbox itself."""
    name = "demo"
    text = base64.b64encode(sandbox.kubeconfig.read_bytes()).decode()
    sandbox.api.create(SECRETS, {"metadata": {"name": f"{name}-kubeconfig", "namespace": namespace},
                                 "data": {"value": text}})  # fmt: skip
    return name


@pytest.fixture
def cluster(sandbox: Sandbox, workload: str, namespace: str) -> str:
    """The name of a Cluster in ``namespace`` whose kubeconfig leads to the sandbox's own API server."""
    sandbox.api.create(CLUSTERS, {"metadata": {"name": workload, "namespace": namespace}, "spec": {}})
    return workload
