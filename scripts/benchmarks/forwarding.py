"""`forward`: bytes through a port-forward, and many connections at once."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.measure import Aim, Findings
from benchmarks.place import Place
from capi_llm.kube.resources import NAMESPACES
from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from simulated_pods import World, world

FORWARD_FILE = Path(__file__).parent / "forward_file.py"
OURS, THEIRS = "capi-llm", "kubectl port-forward"
NAMESPACE, MIB = "bench", 1 << 20
ANSWER = 100_000
"""Bytes that each of many connections asks for."""


@dataclass(frozen=True)
class Local:
    """A forward that listens, and its process."""

    port: int
    process: psutil.Process

    def processor(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def peak(self) -> float:
        """Peak of resident memory, MB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", text)
        return int(kilobytes) * 1024 / 10**6


def measure(place: Place) -> Findings:
    """One pod, simulated by KWOK, with a real server behind it; both programs in turns."""
    findings = Findings()
    sizes = place.sizes
    found = {name: Series() for name in (OURS, THEIRS)}
    with world(executables.bring(Settings.from_environment()), place.folder, "server") as pods:
        pods.api.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        pods.service(NAMESPACE)
        pods.publish(NAMESPACE, pods.pod(NAMESPACE, "server"))
        for number in range(sizes.rounds + 1):
            for name, series in found.items():
                place.say(f"{name}: round {number or 'to warm up'}")
                with _forward(place, pods, name) as local:
                    series.add(local, sizes.megabytes if number else 8, sizes.connections, counted=number > 0)
    for what in ("down", "up"):
        rates = {
            name: findings.add(f"{name}, {sizes.megabytes} MiB {what}", "MB/s", getattr(series, what)).median
            for name, series in found.items()
        }
        findings.aims.append(
            Aim(f"bytes per second {what}, times kubectl's", rates[OURS] / rates[THEIRS], at_least=1)
        )
    label = f"{sizes.connections} connections at once"
    for name, series in found.items():
        findings.add(f"{name}, {label}", "s", series.many)
    failed = {name: sum(series.failed) for name, series in found.items()}
    findings.aims.append(Aim(f"{label}, failed", failed[OURS], at_most=0))
    for name, series in found.items():
        findings.add(f"{name}, all of it, processor", "s", series.processor)
        findings.add(f"{name}, all of it, peak memory", "MB", series.peak)
    findings.facts = {"failed connections": failed, "bytes of each connection": ANSWER}
    return findings


class Series:
    """What was measured of one program."""

    def __init__(self) -> None:
        self.down: list[float] = []
        self.up: list[float] = []
        self.many: list[float] = []
        self.failed: list[int] = []
        self.processor: list[float] = []
        self.peak: list[float] = []

    def add(self, local: Local, megabytes: int, connections: int, *, counted: bool) -> None:
        """One round through ``local``."""
        count = megabytes * MIB
        values = [
            count / _timed(lambda: _download(local.port, count)) / 10**6,
            count / _timed(lambda: _upload(local.port, count)) / 10**6,
        ]
        failures: list[int] = []
        values.append(_timed(lambda: failures.append(_at_once(local.port, connections))))
        if counted:
            for series, value in zip((self.down, self.up, self.many), values, strict=True):
                series.append(value)
            self.failed += failures
            self.processor.append(local.processor())
            self.peak.append(local.peak())


@contextlib.contextmanager
def _forward(place: Place, pods: World, name: str) -> Iterator[Local]:
    kubeconfig = str(pods.plane.kubeconfig)
    ours = [sys.executable, FORWARD_FILE, kubeconfig, NAMESPACE, "svc/web:0:80"]
    theirs = [place.kubectl, f"--kubeconfig={kubeconfig}", "-n", NAMESPACE, "port-forward",
              "--address=127.0.0.1", "svc/web", ":80"]  # fmt: skip
    command = list(map(str, ours if name == OURS else theirs))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=place.env(), text=True
    ) as process:
        assert process.stdout is not None
        drain: threading.Thread | None = None
        try:
            line = process.stdout.readline()
            match = re.search(r"(?:127\.0\.0\.1:)?(\d+)(?: ->.*)?$", line)
            if match is None:
                raise RuntimeError(f"{name} did not say its port: {line!r}")
            # kubectl says something for every connection and stops where nobody reads it.
            drain = threading.Thread(target=process.stdout.read, daemon=True)
            drain.start()
            yield Local(int(match[1]), psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(30)
            if drain is not None:
                drain.join()


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _download(port: int, count: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as line:
        line.sendall(f"GET /bytes?n={count} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        _read(line, count)


def _upload(port: int, count: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as line:
        line.sendall(f"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: {count}\r\n\r\n".encode())
        piece = b"x" * MIB
        for _ in range(count // MIB):
            line.sendall(piece)
        _read(line, 1)


def _read(line: socket.socket, count: int) -> None:
    """Read an answer with a body of ``count`` bytes. Raises RuntimeError where it is not whole."""
    buffer = bytearray(MIB)
    head = b""
    while b"\r\n\r\n" not in head:
        if not (piece := line.recv(65536)):
            raise RuntimeError("the answer has no head")
        head += piece
    got = len(head) - head.index(b"\r\n\r\n") - 4
    while got < count:
        if not (size := line.recv_into(buffer)):
            raise RuntimeError(f"the answer ended after {got} of {count} bytes")
        got += size


def _at_once(port: int, connections: int) -> int:
    """How many connections failed of those that were open at once."""
    together = threading.Barrier(connections, timeout=60)

    def one(_: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
                line.sendall(f"GET /bytes?n={ANSWER} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                _read(line, ANSWER)
                together.wait()
        except (OSError, RuntimeError, threading.BrokenBarrierError):
            together.abort()
            return False
        return True

    with ThreadPoolExecutor(connections) as pool:
        return sum(not good for good in pool.map(one, range(connections)))
