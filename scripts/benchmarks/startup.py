"""`help`: how long a person waits for the command line itself."""

from __future__ import annotations

from benchmarks.measure import Aim, Findings, in_turns, run
from benchmarks.place import CAPI_LLM, Place


def measure(place: Place) -> Findings:
    """`capi-llm --help` and `--version` beside `kubectl version --client`: nobody talks to a server."""
    findings = Findings()
    kubectl, env = place.kubectl, place.env()
    found = in_turns(
        place.sizes.runs,
        {
            "capi-llm --help": lambda: run([CAPI_LLM, "--help"], env=env),
            "kubectl version --client": lambda: run([kubectl, "version", "--client"], env=env),
            "capi-llm --version": lambda: run([CAPI_LLM, "--version"], env=env),
        },
    )
    medians = {label: findings.add_runs(label, runs).median for label, runs in found.items()}
    base = medians["kubectl version --client"]
    findings.aims = [
        Aim("capi-llm --help, times kubectl version --client", medians["capi-llm --help"] / base, at_most=2),
        Aim(
            "capi-llm --version, times kubectl version --client",
            medians["capi-llm --version"] / base,
            at_most=2,
        ),
    ]
    return findings
