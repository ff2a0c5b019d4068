"""``status --watch`` over a real restart of the API server, and ``status`` of many clusters."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

import many
from capi_llm.sandbox import processes
from capi_llm.settings import Settings
from sandboxes import IN_MEMORY, Sandbox, running

pytestmark = [pytest.mark.sandbox, pytest.mark.destroys]

PATIENCE = 90.0


class Watching:
    """A ``status --watch`` and the lines that it has said."""

    def __init__(self, sandbox: Sandbox, *argv: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "capi_llm", "status", *argv],
            env=sandbox.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.lines: list[str] = []
        self._new: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._new.put(line)

    def until(self, wanted: Callable[[str], bool]) -> str:
        """The next line that is ``wanted``."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not said in {PATIENCE} s; said was: {''.join(self.lines)}") from None
            self.lines.append(line)
            if wanted(line):
                return line

    def end(self) -> tuple[int, str]:
        """Ctrl-C; the exit code and stderr."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stderr is not None
        with self.process:
            said = self.process.stderr.read()
            code = self.process.wait(PATIENCE)
            self._reader.join()
        return code, said


@contextlib.contextmanager
def watching(sandbox: Sandbox, *argv: str) -> Iterator[Watching]:
    watch = Watching(sandbox, *argv)
    try:
        yield watch
    finally:
        watch.process.kill()


def kill_apiserver(sandbox: Sandbox) -> None:
    there = {part: pid for pid, part in processes.running(sandbox.ctx.identity.instance).items()}
    victim = psutil.Process(there["kube-apiserver"])
    victim.kill()
    psutil.wait_procs([victim], timeout=10)


def on_terminal(sandbox: Sandbox) -> tuple[str, int]:
    """What ``status --watch`` shows on a terminal until Ctrl-C, after its first picture."""
    master, slave = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-m", "capi_llm", "status", "--watch"],
        stdin=slave, stdout=slave, stderr=slave, env={**sandbox.env, "TERM": "xterm-256color"},
    ) as process:  # fmt: skip
        os.close(slave)
        sent = False
        with contextlib.suppress(OSError):  # the other side is closed
            while part := os.read(master, 4096):
                shown += part
                if b"Ready: plane" in shown and not sent:
                    process.send_signal(signal.SIGINT)
                    sent = True
        code = process.wait(PATIENCE)
    os.close(master)
    return shown.decode(), code


def test_watch_over_a_restart_of_the_api_server(settings: Settings) -> None:
    with running(settings, "live") as sandbox:
        with watching(sandbox, "--watch") as lines, watching(sandbox, "--watch", "-o", "json") as documents:
            lines.until(lambda line: line.endswith(" Ready: plane live, no clusters yet\n"))
            first: dict[str, Any] = json.loads(documents.until(lambda line: True))
            assert first["apiVersion"] == "capi-llm.dev/v1alpha1"
            assert (first["plane"]["ready"], first["clusters"], first["behind"]) == (True, [], "")

            kill_apiserver(sandbox)
            lines.until(lambda line: "… API server  is away: " in line)
            documents.until(lambda line: json.loads(line)["behind"] != "")
            lines.until(lambda line: line.endswith("✓ API server\n"))
            documents.until(lambda line: (doc := json.loads(line))["behind"] == "" and doc["plane"]["ready"])

            # And it follows what happens from then on.
            sandbox.cli("new-cluster", "demo", *IN_MEMORY, "--workers", "1", "--no-wait")
            lines.until(lambda line: "… Cluster default/demo (" in line)
            one = documents.until(lambda line: bool(json.loads(line)["clusters"]))
            assert json.loads(one)["clusters"][0]["name"] == "demo"
            sandbox.cli("delete-cluster", "demo", "--yes")
            lines.until(lambda line: line.endswith("✓ Cluster default/demo is gone\n"))
            documents.until(lambda line: not json.loads(line)["clusters"])
            for watch in (lines, documents):
                code, said = watch.end()
                assert (code, said) == (130, "")
        shown, code = on_terminal(sandbox)
        assert code == 130
        assert "Traceback" not in shown
        assert shown.rstrip().splitlines()[-1].strip().endswith("Plane live, kind sandbox")
        _many(sandbox)


def _many(sandbox: Sandbox) -> None:
    """With 40 clusters, of which one is not ready, that one is shown."""
    many.fill(sandbox.ctx, clusters=40, workers=3, paused={7})
    shown = sandbox.cli("status").stdout
    assert "✓ 39 clusters are ready; status --all shows them\n" in shown
    assert shown.endswith(" and 35 more: machines and their API server\n")
    assert "… Cluster default/load-0007  cluster load-0007 is paused" in shown
    assert "load-0008" not in shown
    assert sandbox.cli("status", "--all").stdout.count("✓ Machine load-") == 40 * 4
    one = sandbox.cli("status", "load-0008").stdout
    assert "✓ Cluster default/load-0008" in one
    assert one.count("✓ Machine") == 4
    found = json.loads(sandbox.cli("status", "-o", "json").stdout)
    assert [item["ready"] for item in found["clusters"]].count(True) == 39
    assert found["clusters"][8]["workers"][0] == {
        "name": "md-0",
        "min": 1,
        "max": 3,
        "desired": 3,
        "ready": 3,
    }
    unknown = sandbox.cli("status", "load-8", check=False)
    assert unknown.returncode == 1
    assert "default/load-0008" in unknown.stderr
    assert "and 30 more" in unknown.stderr
