"""`memory`: what a sandbox's processes and the command line take."""

from __future__ import annotations

import psutil

from benchmarks.measure import Findings, run
from benchmarks.place import CAPI_LLM, Place
from capi_llm.sandbox import processes
from sandboxes import Sandbox, own_settings, running


def measure(place: Place) -> Findings:
    """Memory of each process of a new sandbox, with no cluster and with one, and the peak of each command."""
    findings = Findings()
    place.release()
    with own_settings() as settings:
        env = place.env() | {
            "CAPI_LLM_STATE": str(settings.state),
            "CAPI_LLM_CACHE": str(settings.cache),
            "CAPI_LLM_KUBECONFIGS": str(settings.kubeconfigs),
            "CAPI_LLM_PLANE": "bench",
        }
        place.say("making a sandbox and a cluster")
        commands = {"bootstrap": run([CAPI_LLM, "bootstrap", "--plane", "sandbox"], env=env)}
        with running(settings, "bench") as sandbox:
            empty = resident(sandbox)
            for words in (
                ["new-cluster", "demo", "--workers", "1..3"],
                ["wait", "cluster", "demo"],
                ["status"],
            ):
                commands[" ".join(words)] = run([CAPI_LLM, *words], env=env)
            with_one = resident(sandbox)
    for label, ran in commands.items():
        findings.add_runs(f"capi-llm {label}", [ran])
    for part, size in empty.items():
        findings.add(f"{part}, no cluster", "MB", [size])
    for part, size in with_one.items():
        findings.add(f"{part}, one cluster", "MB", [size])
    findings.add("the sandbox, no cluster", "MB", [sum(empty.values())])
    findings.add("the sandbox, one cluster", "MB", [sum(with_one.values())])
    return findings


def resident(sandbox: Sandbox) -> dict[str, float]:
    """Part → resident memory in MB."""
    running_now = processes.running(sandbox.ctx.identity.instance)
    return {part: psutil.Process(pid).memory_info().rss / 10**6 for pid, part in running_now.items()}
