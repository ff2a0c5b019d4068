"""`apply`: many small objects, for the first time and again."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from audit import writes
from benchmarks.measure import Aim, Findings, Ran, run
from benchmarks.place import Place
from capi_llm.kube.apply import apply
from capi_llm.kube.resources import NAMESPACES, Ref
from capi_llm.sandbox.layout import layout
from sandboxes import Sandbox

APPLY_FILE = Path(__file__).parent / "apply_file.py"
OURS, THEIRS, INSIDE = "capi-llm", "kubectl apply --server-side", "capi-llm, without its start"
AGENTS = {OURS: "capi-llm/", THEIRS: "kubectl/", INSIDE: "capi-llm/"}


def measure(place: Place) -> Findings:
    """The same ConfigMaps from the same file, each round in new namespaces; then again, nothing changed."""
    findings = Findings()
    found: dict[str, dict[str, list[Ran]]] = {name: {"first": [], "again": []} for name in AGENTS}
    written: dict[str, Counter[str]] = {name: Counter() for name in AGENTS}
    count = place.sizes.objects
    with place.sandbox() as sandbox:
        _one(place, sandbox, THEIRS, count // 10 + 1)  # fills its cache of the API
        _one(place, sandbox, OURS, count // 10 + 1)
        for _ in range(place.sizes.rounds):
            for name in AGENTS:
                for when, ran, wrote in _one(place, sandbox, name, count):
                    found[name][when].append(ran)
                    written[name][when] += wrote
    for when in ("first", "again"):
        medians = {name: findings.add_runs(f"{name}, {when}", found[name][when]).median for name in AGENTS}
        for name in (OURS, INSIDE):
            findings.aims.append(
                Aim(
                    f"{name}, times faster than kubectl, {when}", medians[THEIRS] / medians[name], at_least=15
                )
            )
    rounds = place.sizes.rounds
    ours_again = written[OURS]["again"] + written[INSIDE]["again"]
    findings.aims.append(Aim("writes of capi-llm, again", ours_again, at_most=0))
    findings.facts = {
        "objects": count,
        "writes per run, first": {name: written[name]["first"] // rounds for name in AGENTS},
        "writes per run, again": {name: written[name]["again"] // rounds for name in AGENTS},
    }
    return findings


def _one(place: Place, sandbox: Sandbox, name: str, count: int) -> list[tuple[str, Ran, int]]:
    """Apply twice in a new namespace; each run with the writes that the API server's audit log has of it."""
    namespace = f"bench-{secrets.token_hex(4)}"
    sandbox.api.create(NAMESPACES, {"metadata": {"name": namespace}})
    objects = [_object(number, namespace) for number in range(count)]
    file = place.folder / f"{namespace}.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    audit = layout(sandbox.settings.state, sandbox.name).audit_log
    turns = []
    for when in ("first", "again"):
        place.say(f"{name}: {count} objects, {when}")
        after = audit.stat().st_size
        ran = _apply(place, sandbox, name, file, objects)
        turns.append((when, ran, len(writes(audit, agent=AGENTS[name], after=after))))
    sandbox.api.delete(Ref(NAMESPACES, namespace))
    return turns


def _apply(place: Place, sandbox: Sandbox, name: str, file: Path, objects: list[dict[str, Any]]) -> Ran:
    if name == INSIDE:
        started, processor = time.perf_counter(), time.process_time()
        apply(sandbox.api, objects)
        return Ran(time.perf_counter() - started, time.process_time() - processor)
    if name == OURS:
        return run([sys.executable, APPLY_FILE, sandbox.kubeconfig, file], env=place.env(sandbox))
    return run([place.kubectl, "apply", "--server-side", "-f", file], env=place.env(sandbox))


def _object(number: int, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"settings-{number:04}",
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "bench", "app.kubernetes.io/part-of": "capi-llm"},
        },
        "data": {"number": str(number), "text": "x" * 500},
    }
