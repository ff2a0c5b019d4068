"""A bundle that is the network of clusters: there as soon as their API server answers, whatever is wanted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from small_bundles import config, make

from audit import writes
from sandboxes import Sandbox

pytestmark = pytest.mark.sandbox
LABELS = {"capi-llm.dev/cni": "test-net", "capi-llm.dev/planes": "sandbox"}


@pytest.fixture
def settings(tmp_path: Path) -> str:
    """Settings with a folder of bundles in which one is the network ``test-net``."""
    make(tmp_path / "bundles", "net", {"config": config("net-of-this")}, labels=LABELS)
    file = tmp_path / "capi-llm.yaml"
    said = {
        "apiVersion": "capi-llm.dev/v1alpha1",
        "kind": "Settings",
        "apps": {"bundleDir": str(tmp_path / "bundles")},
    }
    file.write_text(yaml.safe_dump(said))
    return str(file)


def network(sandbox: Sandbox, name: str, namespace: str) -> list[str]:
    """The ConfigMaps of the network on the cluster's own API server."""
    kubectl = ("--", "kubectl", "get", "configmaps", "-n", "llm", "-o", "json")
    found = json.loads(sandbox.cli("kubeconfig", name, "-n", namespace, *kubectl).stdout)["items"]
    return [item["metadata"]["name"] for item in found if item["metadata"]["name"].startswith("net-")]


def test_one_cluster_and_several_get_their_network(sandbox: Sandbox, namespace: str, settings: str) -> None:
    asked = ("--config", settings, "new-cluster", "n", "-n", namespace, "--workers", "0", "--apps", "none")
    with_network = (*asked, "--label", "cni=test-net")
    sandbox.cli(*with_network)
    made = sandbox.cli(*with_network, "--count", "2")
    assert "2 of 2 clusters are ready" in made.stderr
    for name in ("n", "n-1", "n-2"):
        assert network(sandbox, name, namespace) == ["net-of-this"]

    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    assert "2 were there and not changed" in sandbox.cli(*with_network, "--count", "2").stderr
    assert writes(log, agent="capi-llm/", after=before) == []


def test_a_network_that_can_not_be_brought_is_the_clusters_end(
    sandbox: Sandbox, namespace: str, settings: str, tmp_path: Path
) -> None:
    make(tmp_path / "bundles", "net", {"config": "kind: ConfigMap\n"}, labels=LABELS)
    asked = ("--config", settings, "new-cluster", "m", "-n", namespace, "--workers", "0", "--apps", "none")
    made = sandbox.cli(*asked, "--label", "cni=test-net", "--count", "2", check=False)
    assert made.returncode == 1
    assert "2 of 2 clusters are not ready" in made.stderr
    for name in ("m-1", "m-2"):
        assert f"✗ {namespace}/{name}" in made.stderr
    assert "net" in made.stderr.partition("Error: ")[2]
