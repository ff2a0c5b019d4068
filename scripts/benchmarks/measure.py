"""Runs, and what is said of several of them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LAUNCHER = Path(__file__).parent / "launcher.py"


@dataclass(frozen=True)
class Ran:
    """A command that was run: wall and processor time in seconds, peak memory in bytes, its stdout.

    Processor time changes much less than wall time when other programs want the machine too.
    """

    seconds: float
    processor: float = 0.0
    peak: int = 0
    output: str = ""


@dataclass(frozen=True)
class Series:
    """Several runs of one thing. ``unit`` is s, ms, MB or a word."""

    label: str
    unit: str
    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def as_json(self) -> dict[str, Any]:
        quartiles = statistics.quantiles(self.runs, n=4, method="inclusive") if len(self.runs) > 1 else []
        return {
            "label": self.label,
            "unit": self.unit,
            "median": _short(self.median),
            "min": _short(min(self.runs)),
            "max": _short(max(self.runs)),
            "quartiles": [_short(value) for value in quartiles],
            "runs": [_short(value) for value in self.runs],
        }


@dataclass(frozen=True)
class Aim:
    """A number that should not be above (or below) another one."""

    what: str
    value: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool:
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "value": _short(self.value),
            "at_most": self.at_most,
            "at_least": self.at_least,
            "met": self.met,
        }


@dataclass
class Findings:
    """What one benchmark found; ``skipped`` says why it was not run."""

    series: list[Series] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""

    def add(self, label: str, unit: str, runs: Sequence[float]) -> Series:
        self.series.append(Series(label, unit, tuple(runs)))
        return self.series[-1]

    def add_runs(self, label: str, runs: Sequence[Ran]) -> Series:
        """Wall time, processor time and peak memory of a command; returns the wall time."""
        wall = self.add(label, "s", [ran.seconds for ran in runs])
        self.add(f"{label}, processor", "s", [ran.processor for ran in runs])
        if all(ran.peak for ran in runs):  # not of what ran in this process
            self.add(f"{label}, peak memory", "MB", [ran.peak / 10**6 for ran in runs])
        return wall

    def median(self, label: str) -> float:
        return next(series.median for series in self.series if series.label == label)

    def as_json(self) -> dict[str, Any]:
        return {
            "skipped": self.skipped,
            "series": [series.as_json() for series in self.series],
            "aims": [aim.as_json() for aim in self.aims],
            "facts": self.facts,
        }


def run(
    argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, codes: tuple[int, ...] = (0,)
) -> Ran:
    """Run a command. Raises RuntimeError with its stderr where its exit code is not among ``codes``."""
    with tempfile.TemporaryDirectory(prefix="capi-llm-bench-") as folder:
        result = Path(folder) / "result"
        done = subprocess.run(
            [sys.executable, "-I", "-S", LAUNCHER, result, *argv],
            env=env or os.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{argv[0]} can not be run: {done.stderr[-2000:]}")
        seconds, processor, peak, code = result.read_text().split()
    if int(code) not in codes:
        raise RuntimeError(f"{' '.join(map(str, argv))} ended with {code}: {done.stderr[-2000:]}")
    return Ran(float(seconds), float(processor), int(peak), done.stdout)


def in_turns(rounds: int, things: Mapping[str, Callable[[], Ran]]) -> dict[str, list[Ran]]:
    """Run each of ``things`` once to warm up, then all of them in turns: A, B, A, B …"""
    for thing in things.values():
        thing()
    found: dict[str, list[Ran]] = {label: [] for label in things}
    for _ in range(rounds):
        for label, thing in things.items():
            found[label].append(thing())
    return found


def _short(value: float) -> float:
    """Four digits: more would be noise."""
    return float(f"{value:.4g}")
