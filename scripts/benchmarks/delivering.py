"""`apps`: a bundle of many objects by direct delivery, from chart to inventory, beside kubectl.

kubectl gets the objects rendered already, and keeps no inventory; helm's time is in ours alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import twice
from benchmarks.measure import Findings, Ran, run
from benchmarks.place import Place
from capi_llm.sandbox import executables
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
  labels: {app.kubernetes.io/name: bench, app.kubernetes.io/part-of: capi-llm}
data:
  number: {{ $number | quote }}
  text: {{ repeat 500 "x" }}
{{- end }}
"""


def measure(place: Place) -> Findings:
    """The same ConfigMaps from both."""

    def start(sandbox: Sandbox, name: str, namespace: str) -> Callable[[], Ran]:
        count = place.sizes.objects
        command: list[str | Path]
        if name == OURS:
            helm = executables.paths(sandbox.settings)["helm"]
            folder = _bundle(place, namespace, count)
            command = [sys.executable, DELIVER_FILE, sandbox.kubeconfig, helm, place.folder, folder]
        else:
            file = twice.listed(place, namespace, twice.configmaps(namespace, count))
            command = [place.kubectl, "apply", "--server-side", "-f", file]
        return lambda: run(command, env=place.env(sandbox))

    return twice.measure(place, AGENTS, THEIRS, start)


def _bundle(place: Place, namespace: str, count: int) -> Path:
    folder = place.folder / namespace
    (folder / "templates").mkdir(parents=True, exist_ok=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: bench\nversion: 0.1.0\n")
    values = f"{{values: {{count: {count}}}}}"
    (folder / "fleet.yaml").write_text(f"name: {namespace}\ndefaultNamespace: {namespace}\nhelm: {values}\n")
    (folder / "templates" / "all.yaml").write_text(TEMPLATE)
    return folder
