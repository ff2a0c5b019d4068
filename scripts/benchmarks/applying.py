"""`apply`: many small objects, for the first time and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import twice
from benchmarks.measure import Findings, Ran, run
from benchmarks.place import Place
from capi_llm.kube.apply import apply
from sandboxes import Sandbox

APPLY_FILE = Path(__file__).parent / "apply_file.py"
OURS, THEIRS, INSIDE = "capi-llm", "kubectl apply --server-side", "capi-llm, without its start"
AGENTS = {OURS: "capi-llm/", THEIRS: "kubectl/", INSIDE: "capi-llm/"}


def measure(place: Place) -> Findings:
    """The same ConfigMaps from the same file."""

    def start(sandbox: Sandbox, name: str, namespace: str) -> Callable[[], Ran]:
        objects = twice.configmaps(namespace, place.sizes.objects)
        file = twice.listed(place, namespace, objects)
        if name == OURS:
            return lambda: run([sys.executable, APPLY_FILE, sandbox.kubeconfig, file], env=place.env(sandbox))
        if name == THEIRS:
            command: list[str | Path] = [place.kubectl, "apply", "--server-side", "-f", file]
            return lambda: run(command, env=place.env(sandbox))

        def inside() -> Ran:
            started, processor = time.perf_counter(), time.process_time()
            apply(sandbox.api, objects)
            return Ran(time.perf_counter() - started, time.process_time() - processor)

        return inside

    return twice.measure(place, AGENTS, THEIRS, start)
