"""scale, through the command line: a pool ends within its range, without an autoscaler."""

from __future__ import annotations

import pytest

from capi_llm.kube.resources import MACHINE_DEPLOYMENTS, MACHINES
from sandboxes import Sandbox

pytestmark = pytest.mark.sandbox


def test_a_pool_ends_within_its_range_with_every_worker_ready(sandbox: Sandbox, namespace: str) -> None:
    where = ("-n", namespace)
    sandbox.cli("new-cluster", "s", *where, "--workers", "1", "--pool", "gpu=0..2:gpu-worker")
    for pool, asked, wanted in (
        ("md-0", "2..6", 2),  # from a fixed number into a range: its minimum
        ("md-0", "1..3", 2),  # within the range already: left
        ("md-0", "1..1", 1),  # lowered to the maximum
        ("md-0", "2", 2),  # from a range to a fixed number
        ("md-0", "0", 0),
        ("gpu", "1..2", 1),
    ):
        done = sandbox.cli("scale", "s", *where, "--pool", pool, "--workers", asked)
        assert f"Pool {pool}: {wanted} of {wanted} workers are ready, asked for {asked}." in done.stderr
        (deployment,) = sandbox.api.list(
            MACHINE_DEPLOYMENTS, namespace, f"topology.cluster.x-k8s.io/deployment-name={pool}"
        )
        assert deployment["spec"]["replicas"] == wanted
        assert deployment["status"].get("readyReplicas", 0) == wanted
        machines = sandbox.api.list(
            MACHINES, namespace, f"cluster.x-k8s.io/deployment-name={deployment['metadata']['name']}"
        )
        assert len(machines) == wanted
    again = sandbox.cli("scale", "s", *where, "--pool", "gpu", "--workers", "1..2")
    assert "has workers 1..2 already; nothing was changed" in again.stderr
