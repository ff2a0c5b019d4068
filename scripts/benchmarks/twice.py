"""Many objects for the first time and again, from several sides, with the writes of each."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from audit import writes
from benchmarks.measure import Aim, Findings, Ran
from benchmarks.place import Place
from capi_llm.kube.resources import NAMESPACES, Ref
from capi_llm.sandbox.layout import layout
from sandboxes import Sandbox

Run = Callable[[Sandbox, str, str], Callable[[], Ran]]
"""Takes a side and a namespace, makes what that side needs there, and returns its run."""

AIM = 15


def measure(place: Place, agents: Mapping[str, str], theirs: str, run: Run) -> Findings:
    """Each round in new namespaces; then again, nothing changed. ``agents``: side → its user agent.

    ``theirs`` is the side that the others are compared with.
    """
    findings = Findings()
    found: dict[str, dict[str, list[Ran]]] = {name: {"first": [], "again": []} for name in agents}
    written: dict[str, Counter[str]] = {name: Counter() for name in agents}
    with place.sandbox() as sandbox:
        for name in agents:  # fills caches of the API
            _one(place, sandbox, name, agents[name], run)
        for _ in range(place.sizes.rounds):
            for name, agent in agents.items():
                for when, ran, wrote in _one(place, sandbox, name, agent, run):
                    found[name][when].append(ran)
                    written[name][when] += wrote
    ours = [name for name in agents if name != theirs]
    for when in ("first", "again"):
        medians = {name: findings.add_runs(f"{name}, {when}", found[name][when]).median for name in agents}
        for name in ours:
            words = f"{name}, times faster than kubectl, {when}"
            findings.aims.append(Aim(words, medians[theirs] / medians[name], at_least=AIM))
    again = sum(written[name]["again"] for name in ours)
    findings.aims.append(Aim("writes of capi-llm, again", again, at_most=0))
    rounds = place.sizes.rounds
    findings.facts = {
        "objects": place.sizes.objects,
        "writes per run, first": {name: written[name]["first"] // rounds for name in agents},
        "writes per run, again": {name: written[name]["again"] // rounds for name in agents},
    }
    return findings


def _one(place: Place, sandbox: Sandbox, name: str, agent: str, run: Run) -> list[tuple[str, Ran, int]]:
    """Twice in a new namespace; each run with the writes that the API server's audit log has of it."""
    namespace = f"bench-{secrets.token_hex(4)}"
    sandbox.api.create(NAMESPACES, {"metadata": {"name": namespace}})
    audit = layout(sandbox.settings.state, sandbox.name).audit_log
    once = run(sandbox, name, namespace)
    turns = []
    for when in ("first", "again"):
        place.say(f"{name}: {place.sizes.objects} objects, {when}")
        after = audit.stat().st_size
        ran = once()
        turns.append((when, ran, len(writes(audit, agent=agent, after=after))))
    sandbox.api.delete(Ref(NAMESPACES, namespace))
    return turns


def configmaps(namespace: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"settings-{number:04}",
                "namespace": namespace,
                "labels": {"app.kubernetes.io/name": "bench", "app.kubernetes.io/part-of": "capi-llm"},
            },
            "data": {"number": str(number), "text": "x" * 500},
        }
        for number in range(count)
    ]


def listed(place: Place, namespace: str, objects: list[dict[str, Any]]) -> Path:
    """A file of ``objects`` that kubectl takes."""
    file = place.folder / f"{namespace}.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    return file
