"""`clusters`: many clusters at once, from nothing until the last machine is ready."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from benchmarks.measure import Aim, Findings, Ran, run
from benchmarks.memory import resident
from benchmarks.place import CAPI_LLM, Place
from capi_llm.clusters import tree
from capi_llm.sandbox import ports
from sandboxes import Sandbox

OURS, THEIRS = "capi-llm new-cluster --count", "kubectl apply and kubectl wait, one by one"
WAIT = "15m"


def measure(place: Place) -> Findings:
    """The same number of clusters with a worker each, each way on a new sandbox of its own."""
    count = place.sizes.many
    if "--count" not in subprocess.check_output([CAPI_LLM, "new-cluster", "--help"], text=True):
        return Findings(skipped="this capi-llm has no new-cluster --count")
    findings = Findings()
    medians = {}
    for label, make in ((OURS, _ours), (THEIRS, _theirs)):
        with place.sandbox(fresh=True) as sandbox:
            place.say(f"{label}: {count} clusters")
            ran = make(place, sandbox, count)
            views = tree.overview(tree.collect(sandbox.api, None))
            ready = sum(view.status.ready for view in views)
            if ready != count:
                raise RuntimeError(f"{label}: {ready} of {count} clusters are ready")
            medians[label] = findings.add_runs(label, [ran]).median
            findings.add(f"the sandbox after {label}", "MB", [sum(resident(sandbox).values())])
    low, high = ports.IN_MEMORY_RANGE
    findings.aims = [Aim(f"{OURS}, times {THEIRS}", medians[OURS] / medians[THEIRS], at_most=1)]
    findings.facts = {
        "clusters": count,
        "most that the simulated provider has ports for": high - low,
    }
    return findings


def _ours(place: Place, sandbox: Sandbox, count: int) -> Ran:
    argv = ["new-cluster", "many", "--count", str(count), "--workers", "1", "--apps", "none"]
    return run([CAPI_LLM, *argv, "--timeout", WAIT], env=place.env(sandbox))


def _theirs(place: Place, sandbox: Sandbox, count: int) -> Ran:
    names = [f"many-{number}" for number in range(1, count + 1)]
    files = [_manifest(place, sandbox, name) for name in names]
    env = place.env(sandbox)
    started = time.perf_counter()
    ran = [run([place.kubectl, "apply", "-f", file], env=env) for file in files]
    for name in names:
        cluster = ["wait", f"clusters.cluster.x-k8s.io/{name}", f"--timeout={WAIT}"]
        ran.append(run([place.kubectl, *cluster, "--for=condition=ControlPlaneReady"], env=env))
        pools = ["machinedeployments", "-l", f"{tree.CLUSTER_NAME}={name}", f"--timeout={WAIT}"]
        ran.append(run([place.kubectl, "wait", *pools, "--for=jsonpath={.status.phase}=Running"], env=env))
    wall = time.perf_counter() - started
    return Ran(wall, sum(each.processor for each in ran), max(each.peak for each in ran))


def _manifest(place: Place, sandbox: Sandbox, name: str) -> Path:
    file = place.folder / f"{name}.yaml"
    file.write_text(sandbox.cli("new-cluster", name, "--workers", "1", "--dry-run").stdout)
    return file
