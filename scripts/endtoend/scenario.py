"""What is run, in which order, and what is reported of it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from endtoend import breaking, journey, names, serving
from endtoend.engine import Engine
from endtoend.images import Ready
from endtoend.run import Run

RESULTS = Path(__file__).resolve().parent.parent.parent / "docs/results/e2e.json"
JOURNEY: dict[str, Callable[[Run], None]] = {
    "bootstrap": journey.bootstrap,
    "new-cluster": journey.new_cluster,
    "apps": journey.apps,
    "portforward": journey.portforward,
    "scale": journey.scale,
    "health-check": journey.health_check,
    "upgrade": journey.upgrade,
    "knative": serving.knative_scales,
    "restart": journey.restart,
    "delete-cluster": journey.delete,
    "destroy": journey.destroy,
}
BREAKING = ("sequential", "restart-within", "kills")
LAST = ("delete-cluster", "destroy")
PARTS = (*JOURNEY, *BREAKING)


def run(
    docker: Engine,
    ready: Ready,
    timings: dict[str, float],
    options: argparse.Namespace,
    say: Callable[[str], None],
) -> int:
    """Run the parts of ``options``; prints a table on stderr and JSON on stdout. 1 if anything was wrong."""
    chosen = [name for name in options.only.split(",") if name] or list(PARTS)
    # Knative 1.21 wants the Kubernetes that clusters are upgraded to.
    left_out = {"upgrade": options.without_upgrade, "knative": options.without_upgrade or not options.knative}
    chosen = [name for name in chosen if not left_out.get(name)]
    began = time.monotonic()
    current = Run(docker, ready, say)
    report = partial(_report, docker, current, began, options.record)
    current.results["images"] = {name: round(value, 1) for name, value in timings.items()}
    for name, part in JOURNEY.items():
        if name in chosen and (name in LAST or not _nothing_to_go_on(current)):
            part(current)
            report()
    usual = float(current.results.get("bootstrap", {}).get("command", 60))
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    if "sequential" in chosen:
        breaking.sequential(current)
        report()
    if "restart-within" in chosen:
        breaking.restart_within(current, usual)
        report()
    if "kills" in chosen:
        breaking.kills(current, options.kills, seed, usual)
        report()
    text, wrong = report()
    print(text)
    print(table(current.results), file=sys.stderr)
    return 1 if wrong else 0


def _nothing_to_go_on(current: Run) -> bool:
    """Whether there is no plane, or no cluster on it: what else is asked for would only fail too."""
    return any("wrong" in current.results.get(name, {}) for name in ("bootstrap", "new-cluster"))


def _report(docker: Engine, current: Run, began: float, record: bool) -> tuple[str, list[str]]:
    """The results so far as JSON, and which parts were wrong; written to :data:`RESULTS` if ``record``."""
    wrong = [name for name, seen in current.results.items() if "wrong" in seen]
    about = {
        "cores": os.cpu_count(),
        "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load": [round(value, 1) for value in os.getloadavg()],
        "python": platform.python_version(),
        "engine": docker.docker("version", "--format", "{{.Server.Version}}").stdout.strip(),
        "kubernetes": [names.KUBERNETES, names.UPGRADE],
        "minutes": round((time.monotonic() - began) / 60, 1),
        "wrong": wrong,
        "parts": current.results,
    }
    text = json.dumps(about, indent=1, ensure_ascii=False)
    if record:
        RESULTS.write_text(text + "\n")
    return text, wrong


def table(results: dict[str, dict[str, Any]]) -> str:
    """One line for each part: its seconds, and those of the commands in it."""
    lines = []
    for name, seen in results.items():
        numbers = [
            f"{key} {value} s" for key, value in seen.items() if isinstance(value, float) and key != "seconds"
        ]
        counts = [f"{key} {value}" for key, value in seen.items() if isinstance(value, int)]
        end = (
            "WRONG: " + str(seen["wrong"]).splitlines()[0]
            if "wrong" in seen
            else ", ".join([*numbers, *counts])
        )
        lines.append(f"{name:32} {seen.get('seconds', ''):>8}  {end}")
    return "\n".join(lines)
