"""`status`: one look at a plane with many clusters."""

from __future__ import annotations

from benchmarks import fleet
from benchmarks.measure import Aim, Findings, in_turns, run
from benchmarks.place import CAPI_LLM, Place

STATUS = "capi-llm status"


def measure(place: Place) -> Findings:
    """`capi-llm status` of many clusters, and what a person types to see less with the other tools."""
    findings = Findings()
    here = fleet.standing_still(place)
    env = place.env(here.sandbox)
    get = (place.kubectl, "get", "clusters.cluster.x-k8s.io,machines,machinedeployments", "-A")
    describe = (place.clusterctl, "describe", "cluster", fleet.PATTERN, "-n", fleet.FLEET)
    found = in_turns(
        max(place.sizes.runs // 2, 1),
        {
            STATUS: lambda: run([CAPI_LLM, "status"], env=env),
            f"{STATUS} --all": lambda: run([CAPI_LLM, "status", "--all"], env=env),
            "kubectl get clusters,machines,machinedeployments -A": lambda: run(get, env=env),
            "clusterctl describe cluster, one": lambda: run(describe, env=env),
        },
    )
    for label, runs in found.items():
        findings.add_runs(label, runs)
    shown = found[STATUS][-1].output
    findings.facts = {
        "clusters": here.clusters,
        "machines": here.machines,
        "verdict": shown.splitlines()[0],
        "lines": {label: len(runs[-1].output.splitlines()) for label, runs in found.items()},
    }
    findings.aims = [
        Aim("capi-llm status, s", findings.median(STATUS), at_most=2),
        Aim("capi-llm status, peak memory, MB", findings.median(f"{STATUS}, peak memory"), at_most=150),
    ]
    return findings
