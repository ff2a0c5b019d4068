"""What was found, as text: a table for the terminal, and one for docs/measurements.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- scripts/bench --record writes from here -->", "<!-- to here -->"


def record(report: dict[str, Any], docs: Path = DOCS) -> None:
    """Make ``report`` the last results in the documentation; what it did not measure stays as it was."""
    results = docs / "results" / "bench.json"
    results.parent.mkdir(exist_ok=True)
    if results.exists():
        before = json.loads(results.read_text())["benchmarks"]
        report = report | {"benchmarks": before | report["benchmarks"]}
    results.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    page = docs / "measurements.md"
    section = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    text = page.read_text()
    if not section.search(text):
        raise RuntimeError(f"{page} has no lines {BEGIN} and {END}")
    page.write_text(section.sub(lambda _: f"{BEGIN}\n{markdown(report)}\n{END}", text))


def table(name: str, found: dict[str, Any]) -> str:
    """One benchmark for the terminal."""
    if found["skipped"]:
        return f"\n{name}: {found['skipped']}\n"
    lines = ["", f"{name:<72}{'median':>10}{'min':>10}{'max':>10}  runs"]
    for series in found["series"]:
        numbers = "".join(f"{series[key]:>10.4g}" for key in ("median", "min", "max"))
        lines.append(f"  {series['label'] + ', ' + series['unit']:<70}{numbers}  {len(series['runs'])}")
    for aim in found["aims"]:
        lines.append(f"  {'✓' if aim['met'] else '✗'} {aim['what']}: {aim['value']:g} ({limit(aim)})")
    lines += [f"  {key}: {value}" for key, value in found["facts"].items()]
    return "\n".join([*lines, ""])


def limit(aim: dict[str, Any]) -> str:
    return f"at most {aim['at_most']:g}" if aim["at_most"] is not None else f"at least {aim['at_least']:g}"


def markdown(report: dict[str, Any]) -> str:
    """All benchmarks as sections with tables."""
    lines: list[str] = []
    for name, found in report["benchmarks"].items():
        if found["skipped"]:
            continue
        where = found["machine"]
        lines += [
            "",
            f"### {name}",
            "",
            f"{found['began'][:10]}, {where['cores']} cores ({where['processor']}), "
            f"{where['memory_gb']:g} GB, {where['system']}, Python {where['python']}; "
            f"load {found['load'][0]:g} before and {found['load'][1]:g} after.",
            "",
            "| | median | least | most | runs |",
            "|---|---|---|---|---|",
        ]
        for series in found["series"]:
            numbers = " | ".join(f"{series[key]:g} {series['unit']}" for key in ("median", "min", "max"))
            lines.append(f"| {series['label']} | {numbers} | {len(series['runs'])} |")
        if found["aims"]:
            lines += ["", "| aim | is | should be |", "|---|---|---|"]
            for aim in found["aims"]:
                met = "" if aim["met"] else ", missed"
                lines.append(f"| {aim['what']} | {aim['value']:g} | {limit(aim)}{met} |")
    return "\n".join([*lines, ""])
