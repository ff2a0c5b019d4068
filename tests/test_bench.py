"""`scripts/bench` works; how fast anything is, is no matter of tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandboxes import Sandbox

BENCH = Path(__file__).parent.parent / "scripts" / "bench"


def test_it_reports_and_a_second_apply_writes_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    argv = [sys.executable, BENCH, "help", "apply", "--quick", "--plane", sandbox.name, "--json", target]
    done = subprocess.run(argv, env=sandbox.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    report = json.loads(target.read_text())
    assert list(report["benchmarks"]) == ["help", "apply"]
    for found in report["benchmarks"].values():
        assert found["machine"]["cores"] >= 1
        assert len(found["load"]) == 2
        assert not found["skipped"]
        for series in found["series"]:
            assert series["min"] <= series["median"] <= series["max"]
            assert len(series["runs"]) >= 1
    facts = report["benchmarks"]["apply"]["facts"]
    assert set(facts["writes per run, first"].values()) == {facts["objects"]}
    again = facts["writes per run, again"]
    assert again.pop("kubectl apply --server-side") == facts["objects"]
    assert set(again.values()) == {0}
    assert "kubectl apply --server-side, again" in done.stderr


def test_recording_keeps_what_was_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCH.parent)
    from benchmarks import report

    def results(name: str, value: float) -> dict[str, Any]:
        series = {"label": "x", "unit": "s", "median": value, "min": value, "max": value, "runs": [value]}
        machine = {"cores": 2, "processor": "p", "memory_gb": 4, "system": "Linux", "python": "3.11"}
        found = {"began": "2026-01-01T00:00:00", "machine": machine, "load": [0, 1], "skipped": ""}
        return {"benchmarks": {name: found | {"series": [series], "aims": [], "facts": {}}}}

    page = tmp_path / "measurements.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.record(results("help", 1.5), tmp_path)
    report.record(results("apply", 2.5), tmp_path)
    report.record(results("apply", 3.5), tmp_path)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert [line for line in text.splitlines() if line.startswith("###")] == ["### help", "### apply"]
    assert "| x | 1.5 s | 1.5 s | 1.5 s | 1 |" in text
    assert "| x | 3.5 s | 3.5 s | 3.5 s | 1 |" in text
    assert "2.5 s" not in text
    assert "old" not in text


def test_an_unknown_benchmark_is_refused() -> None:
    done = subprocess.run([sys.executable, BENCH, "speed"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no benchmark 'speed'" in done.stderr
