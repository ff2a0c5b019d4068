"""new-cluster through the command line, held against kubectl, clusterctl and the API server's own log."""

from __future__ import annotations

import json

import pytest

from audit import writes
from sandboxes import Sandbox

pytestmark = pytest.mark.sandbox

ANNOTATIONS = {
    "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size": "1",
    "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size": "3",
    "capacity.cluster-autoscaler.kubernetes.io/cpu": "2",
    "capacity.cluster-autoscaler.kubernetes.io/memory": "4Gi",
}


def test_kubectl_and_clusterctl_agree_with_status(sandbox: Sandbox, namespace: str) -> None:
    def kubectl(*argv: str) -> dict[str, object]:
        command = ("kubeconfig", "--management", "--", "kubectl", "-n", namespace, *argv, "-o", "json")
        return json.loads(sandbox.cli(*command).stdout)

    made = sandbox.cli("new-cluster", "demo", "-n", namespace, "--workers", "1..3")
    assert "is ready" in made.stderr
    assert made.stdout == ""

    status = json.loads(sandbox.cli("status", "-n", namespace, "-o", "json").stdout)
    (cluster,) = status["clusters"]
    assert status["plane"]["ready"] is True
    assert cluster["ready"] is True
    assert cluster["control_plane"] == {"desired": 1, "ready": 1}
    assert cluster["workers"] == [{"name": "md-0", "min": 1, "max": 3, "desired": 1, "ready": 1}]

    found = kubectl("get", "clusters.cluster.x-k8s.io", "demo")
    conditions = {item["type"]: item["status"] for item in found["status"]["v1beta2"]["conditions"]}
    assert conditions["Available"] == conditions["WorkersAvailable"] == "True"
    assert found["status"]["phase"] == cluster["phase"] == "Provisioned"
    (deployment,) = kubectl("get", "machinedeployments.cluster.x-k8s.io")["items"]
    assert deployment["status"]["readyReplicas"] == 1
    assert deployment["metadata"]["annotations"].items() >= ANNOTATIONS.items()
    described = sandbox.cli(
        "kubeconfig",
        "--management",
        "--",
        "clusterctl",
        "describe",
        "cluster",
        "demo",
        "-n",
        namespace,
    ).stdout
    ready = {
        line.split()[0].lstrip("├─└│ "): line.split() for line in described.splitlines()[1:] if line.strip()
    }
    assert ready["Cluster/demo"][1] == "True"

    # Nothing changed: no write, as the API server saw it.
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    assert any(
        write.verb == "create" and "/clusters" in write.uri for write in writes(log, agent="capi-llm/")
    )
    again = sandbox.cli("new-cluster", "demo", "-n", namespace, "--workers", "1..3")
    assert "nothing was changed" in again.stderr
    assert writes(log, agent="capi-llm/", after=before) == []

    other = sandbox.cli("new-cluster", "demo", "-n", namespace, "--workers", "2..4", check=False)
    assert other.returncode == 1
    assert f"capi-llm scale demo --namespace {namespace} --workers 2..4" in other.stderr
    assert writes(log, agent="capi-llm/", after=before) == []

    saved = sandbox.settings.kubeconfigs / f"kubeconfig-{namespace}.demo.yaml"
    assert saved.stat().st_mode & 0o777 == 0o600
    nodes = sandbox.cli(
        "kubeconfig", "demo", "-n", namespace, "--", "kubectl", "get", "nodes", "-o", "name"
    ).stdout
    assert len(nodes.splitlines()) == 1
    sandbox.cli("delete-cluster", "demo", "-n", namespace, "--yes")
    assert not saved.exists()
    gone = sandbox.cli("wait", "cluster", "demo", "-n", namespace, check=False)
    assert gone.returncode == 1
    assert "there is no cluster 'demo'" in gone.stderr


def test_bad_input_touches_nothing(sandbox: Sandbox, namespace: str) -> None:
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    for argv, place in (
        (("Demo",), "NAME"),
        (("demo", "--workers", "3..1"), "--workers"),
        (("demo", "--pods", "10.0.0.0/99"), "--pods"),
        (("demo", "--pods", "10.96.0.0/16"), "--services"),
        (("demo", "--version", "v1.99.0"), "--version"),
        (("demo", "--memory", "4"), "--memory"),
        (("demo", "--control-plane", "2"), "--control-plane"),
        (("demo", "--set", "nodeLabel.team=a"), "nodeLabels"),
        (("demo", "--pool", "gpu=0..2:gpu-workers"), "gpu-worker"),
    ):
        result = sandbox.cli("new-cluster", *argv, "-n", namespace, check=False)
        assert result.returncode == 2, (argv, result.stderr)
        assert place in result.stderr, (argv, result.stderr)
        assert "Traceback" not in result.stderr
    assert writes(log, agent="capi-llm/", after=before) == []
