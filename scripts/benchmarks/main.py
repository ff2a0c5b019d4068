"""The command line of `scripts/bench`."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import (
    applying,
    delivering,
    forwarding,
    latency,
    looking,
    machine,
    many,
    memory,
    report,
    startup,
)
from benchmarks.measure import Findings
from benchmarks.place import QUICK, Place, Sizes, place
from capi_llm import versions
from capi_llm.sandbox import executables
from capi_llm.settings import Settings

BENCHMARKS: dict[str, Callable[[Place], Findings]] = {
    "help": startup.measure,
    "apply": applying.measure,
    "apps": delivering.measure,
    "status": looking.measure,
    "wait": latency.measure,
    "clusters": many.measure,
    "memory": memory.measure,
    "forward": forwarding.measure,
}
"""In the order in which they run."""


def main() -> int:
    """Run the benchmarks that were named; JSON to a file or stdout, a table on stderr. 1 if one failed."""
    options = _options()
    chosen = [name for name in BENCHMARKS if name in (options.benchmarks or BENCHMARKS)]
    executables.bring(Settings.from_environment())
    found: dict[str, Any] = {}
    failed = False
    with place(_sizes(options), options.plane, _say) as here:
        for name in chosen:
            _say(f"{name}: {(BENCHMARKS[name].__doc__ or '').splitlines()[0]}")
            began, where = datetime.datetime.now(datetime.UTC), machine.describe()
            try:
                findings = BENCHMARKS[name](here)
            except Exception as error:
                # The others are worth having all the same.
                failed, findings = True, Findings(skipped=f"failed: {error}")
            found[name] = {
                "began": began.isoformat(timespec="seconds"),
                "sizes": vars(here.sizes),
                "machine": where,
                "load": [where.pop("load"), machine.load()],
                **findings.as_json(),
            }
            print(report.table(name, found[name]), file=sys.stderr)
    results = {
        "capi-llm": versions.CLI,
        "kubernetes": versions.KUBERNETES,
        "benchmarks": found,
    }
    text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    if options.record and not failed:
        report.record(results)
    if options.json:
        options.json.write_text(text)
    elif not options.record:
        print(text, end="")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures capi-llm beside kubectl and clusterctl; a table on stderr, JSON on stdout.",
    )
    names = ", ".join(BENCHMARKS)
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=f"of {names}; without: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON there, not to stdout")
    parser.add_argument("--record", action="store_true", help="write the results into docs, if all went well")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it works, not how fast")
    parser.add_argument("--plane", default="", help="a sandbox to use where a benchmark needs no new one")
    for name in ("runs", "rounds", "objects", "clusters", "many", "megabytes", "connections"):
        parser.add_argument(f"--{name}", type=int, help=f"default: {getattr(Sizes, name)}")
    options = parser.parse_args()
    if unknown := sorted(set(options.benchmarks) - set(BENCHMARKS)):
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    return options


def _sizes(options: argparse.Namespace) -> Sizes:
    sizes = vars(QUICK if options.quick else Sizes())
    return Sizes(**{name: getattr(options, name, None) or value for name, value in sizes.items()})


def _say(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)
