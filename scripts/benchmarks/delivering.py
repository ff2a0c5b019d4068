"""`apps`: a bundle of many objects by direct delivery, from chart to inventory, beside kubectl.

kubectl gets the objects rendered already, and keeps no inventory; helm's time is in ours alone.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections import Counter
from pathlib import Path

from audit import writes
from benchmarks.measure import Aim, Findings, Ran, run
from benchmarks.place import Place
from capi_llm.kube.resources import NAMESPACES, Ref
from capi_llm.sandbox import executables
from capi_llm.sandbox.layout import layout
from sandboxes import Sandbox

DELIVER_FILE = Path(__file__).parent / "deliver_file.py"
OURS, THEIRS = "capi-llm, direct delivery", "kubectl apply --server-side"
AGENTS = {OURS: "capi-llm/", THEIRS: "kubectl/"}

TEMPLATE = """\
{{- range $number := until (int .Values.count) }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings-{{ printf "%04d" $number }}
  namespace: {{ $.Release.Namespace }}
data:
  number: {{ $number | quote }}
  text: {{ repeat 500 "x" }}
{{- end }}
"""


def measure(place: Place) -> Findings:
    """The same ConfigMaps, each round in new namespaces; then again, nothing changed."""
    findings = Findings()
    found: dict[str, dict[str, list[Ran]]] = {name: {"first": [], "again": []} for name in AGENTS}
    written: dict[str, Counter[str]] = {name: Counter() for name in AGENTS}
    count = place.sizes.objects
    with place.sandbox() as sandbox:
        for name in AGENTS:
            _one(place, sandbox, name, count // 10 + 1)
        for _ in range(place.sizes.rounds):
            for name in AGENTS:
                for when, ran, wrote in _one(place, sandbox, name, count):
                    found[name][when].append(ran)
                    written[name][when] += wrote
    for when in ("first", "again"):
        medians = {name: findings.add_runs(f"{name}, {when}", found[name][when]).median for name in AGENTS}
        findings.aims.append(
            Aim(f"times faster than kubectl, {when}", medians[THEIRS] / medians[OURS], at_least=15)
        )
    findings.aims.append(Aim("writes of capi-llm, again", written[OURS]["again"], at_most=0))
    findings.facts = {
        "objects": count,
        "writes per run, first": {name: written[name]["first"] // place.sizes.rounds for name in AGENTS},
        "writes per run, again": {name: written[name]["again"] // place.sizes.rounds for name in AGENTS},
    }
    return findings


def _one(place: Place, sandbox: Sandbox, name: str, count: int) -> list[tuple[str, Ran, int]]:
    namespace = f"bench-{secrets.token_hex(4)}"
    sandbox.api.create(NAMESPACES, {"metadata": {"name": namespace}})
    audit = layout(sandbox.settings.state, sandbox.name).audit_log
    turns = []
    for when in ("first", "again"):
        place.say(f"{name}: {count} objects, {when}")
        after = audit.stat().st_size
        if name == OURS:
            helm = executables.paths(sandbox.settings)["helm"]
            folder = _bundle(place, namespace, count)
            command = [sys.executable, DELIVER_FILE, sandbox.kubeconfig, helm, place.folder, folder]
        else:
            command = [place.kubectl, "apply", "--server-side", "-f", _file(place, namespace, count)]
        ran = run(command, env=place.env(sandbox))
        turns.append((when, ran, len(writes(audit, agent=AGENTS[name], after=after))))
    sandbox.api.delete(Ref(NAMESPACES, namespace))
    return turns


def _bundle(place: Place, namespace: str, count: int) -> Path:
    folder = place.folder / namespace
    (folder / "templates").mkdir(parents=True, exist_ok=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: bench\nversion: 0.1.0\n")
    values = f"{{values: {{count: {count}}}}}"
    (folder / "fleet.yaml").write_text(f"name: {namespace}\ndefaultNamespace: {namespace}\nhelm: {values}\n")
    (folder / "templates" / "all.yaml").write_text(TEMPLATE)
    return folder


def _file(place: Place, namespace: str, count: int) -> Path:
    objects = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"settings-{number:04}", "namespace": namespace},
            "data": {"number": str(number), "text": "x" * 500},
        }
        for number in range(count)
    ]
    file = place.folder / f"{namespace}.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    return file
