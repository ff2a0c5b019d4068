"""upgrade cluster, through the command line, on real controllers."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil
import pytest

from audit import writes
from capi_llm.clusters.topology import INTENT
from capi_llm.kube.resources import CLUSTERS, KUBEADM_CONTROL_PLANES, MACHINE_DEPLOYMENTS, MACHINES, Ref
from capi_llm.sandbox import processes
from sandboxes import IN_MEMORY, Sandbox

pytestmark = pytest.mark.sandbox


def test_upgrade_that_was_killed_goes_on_and_ends_when_every_machine_runs_it(
    sandbox: Sandbox, namespace: str
) -> None:
    where = ("-n", namespace)
    parts = {part: pid for pid, part in processes.running(sandbox.ctx.identity.instance).items()}
    infrastructure = psutil.Process(parts["capi-docker"])
    infrastructure.suspend()  # so that the cluster is not there before it is asked for
    try:
        new = ("new-cluster", "up", *where, *IN_MEMORY, "--version", "v1.31.4", "--workers", "2")
        assert sandbox.cli(*new, "--no-wait").returncode == 0
        early = sandbox.cli("upgrade", "cluster", "up", *where, "--to", "v1.32.1", check=False)
        assert early.returncode == 1
        assert "is still being made" in early.stderr
    finally:
        infrastructure.resume()
    sandbox.cli("wait", "cluster", "up", *where)
    api = sandbox.api
    # As Cluster API leaves one when its API server dies before it has written into the Cluster which it made.
    (control_plane,) = api.list(KUBEADM_CONTROL_PLANES, namespace)
    meta = {"name": "left", "namespace": namespace, "labels": control_plane["metadata"]["labels"]}
    left = api.create(KUBEADM_CONTROL_PLANES, {"metadata": meta, "spec": control_plane["spec"]})
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size

    for version, code, message in (
        ("v1.33.0", 1, f"capi-llm upgrade cluster up --to v1.32.0 -n {namespace}"),
        ("v1.31.3", 1, "can not go back from v1.31.4 to v1.31.3"),
        ("v1.99.0", 2, "it makes clusters of 1.27 to 1.33"),
        ("1.32", 2, "it has three numbers"),
    ):
        refused = sandbox.cli("upgrade", "cluster", "up", *where, "--to", version, check=False)
        assert (refused.returncode, message in refused.stderr) == (code, True), refused.stderr
    asked = ("upgrade", "cluster", "up", *where, "--to", "v1.32.1")
    dry = json.loads(sandbox.cli(*asked, "--dry-run", "-o", "json").stdout)
    assert (dry["from"], dry["to"], dry["done"]) == ("v1.31.4", "v1.32.1", False)
    assert [(stage["what"], stage["toReplace"]) for stage in dry["stages"]] == [
        ("control plane", 1),
        ("pool md-0", 2),
    ]
    other = sandbox.cli("new-cluster", "up", *where, "--version", "v1.32.1", check=False)
    assert f"capi-llm upgrade cluster up --to v1.32.1 --namespace {namespace}" in other.stderr
    assert writes(log, agent="capi-llm/", after=before) == []

    command = [sys.executable, "-m", "capi_llm", *asked]
    with subprocess.Popen(command, env=sandbox.env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "1 of 4 machines run v1.32.1" in line:
                process.kill()
    assert process.returncode == -9

    jump = sandbox.cli("upgrade", "cluster", "up", *where, "--to", "v1.33.0", check=False)
    assert f"up --to v1.32.1 -n {namespace} waits for its end" in jump.stderr
    before = log.stat().st_size
    rest = sandbox.cli(*asked)
    assert "under way already" in rest.stderr
    assert "Every machine" in rest.stderr
    assert writes(log, agent="capi-llm/", after=before) == []

    cluster = api.get(Ref(CLUSTERS, "up", namespace))
    assert cluster["spec"]["topology"]["version"] == "v1.32.1"
    assert cluster["metadata"]["labels"]["capi-llm.dev/kubernetes"] == "1.32"
    assert json.loads(cluster["metadata"]["annotations"][INTENT])["version"] == "v1.32.1"
    control_plane = api.get(KUBEADM_CONTROL_PLANES.ref(control_plane))
    assert control_plane["spec"]["version"] == control_plane["status"]["version"] == "v1.32.1"
    (deployment,) = api.list(MACHINE_DEPLOYMENTS, namespace)
    assert deployment["spec"]["template"]["spec"]["version"] == "v1.32.1"
    assert [machine["spec"]["version"] for machine in api.list(MACHINES, namespace)] == ["v1.32.1"] * 3

    again = sandbox.cli(*asked)
    assert "runs v1.32.1 already; nothing was changed" in again.stderr
    assert writes(log, agent="capi-llm/", after=before) == []
    api.delete(KUBEADM_CONTROL_PLANES.ref(left))


def test_what_nothing_would_come_of_is_refused(sandbox: Sandbox, namespace: str) -> None:
    unknown = sandbox.cli("upgrade", "cluster", "none", "-n", namespace, "--to", "v1.33.0", check=False)
    assert unknown.returncode == 1
    assert "there is no cluster 'none'" in unknown.stderr
    sandbox.cli("new-cluster", "held", "-n", namespace, *IN_MEMORY, "--version", "v1.32.0", "--workers", "1")
    ref = Ref(CLUSTERS, "held", namespace)
    (entry,) = sandbox.api.get(ref)["spec"]["topology"]["workers"]["machineDeployments"]
    entry["metadata"]["annotations"]["topology.cluster.x-k8s.io/defer-upgrade"] = ""
    sandbox.api.merge_patch(ref, {"spec": {"topology": {"workers": {"machineDeployments": [entry]}}}})
    asked = ("upgrade", "cluster", "held", "-n", namespace, "--to", "v1.33.0")
    held = sandbox.cli(*asked, check=False)
    assert held.returncode == 1
    assert "pool 'md-0' is held back from upgrades" in held.stderr
    sandbox.api.merge_patch(ref, {"spec": {"paused": True}})
    paused = sandbox.cli(*asked, check=False)
    assert "cluster 'held' is paused" in paused.stderr
    sandbox.api.merge_patch(ref, {"spec": {"paused": False}})
    assert sandbox.api.get(ref)["spec"]["topology"]["version"] == "v1.32.0"
