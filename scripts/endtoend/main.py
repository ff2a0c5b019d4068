"""The command line of scripts/e2e."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from capi_llm.settings import load
from endtoend import engine, images

NEEDED = ("dockerd", "containerd", "ctr", "runc", "docker", "mmdebstrap", "iptables", "ip", "unshare", "go")
LAUNCHER = Path(__file__).resolve().parent.parent / "e2e"


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/e2e", description="see docs/e2e.md")
    parser.add_argument("what", choices=["prepare", "run", "engine"])
    parser.add_argument("--without-upgrade", action="store_true", help="no second version of Kubernetes")
    parser.add_argument("--only", default="", help="`run`: some of its parts, with commas; see docs/e2e.md")
    parser.add_argument("--kills", type=int, default=10, help="`run`: how often the bootstrap is killed [10]")
    parser.add_argument("--seed", type=int, help="`run`: of the moments of kills")
    parser.add_argument(
        "--knative", type=Path, help="folder with clones of Knative's operator, serving and net-kourier"
    )
    parser.add_argument("--record", action="store_true", help="`run`: write docs/results/e2e.json")
    own, command = _split(sys.argv[1:])
    options = parser.parse_args(own)
    options.command = command
    if engine.INSIDE in os.environ:
        return _inside(options)
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if os.geteuid() or missing:
        print(
            f"scripts/e2e needs root on Linux; not on PATH: {', '.join(missing) or 'nothing'}",
            file=sys.stderr,
        )
        print("  to go on: apt-get install docker.io mmdebstrap iptables iproute2, and Go", file=sys.stderr)
        return 3
    began = time.monotonic()
    cache = load().cache / "e2e"
    ready = images.prepare(cache, _Shown(), say, upgrade=not options.without_upgrade, clones=options.knative)
    took = time.monotonic() - began
    say(f"everything that containers are made of is here, after {took:.0f} s")
    if options.what == "prepare":
        return 0
    about = {name: _plain(value) for name, value in dataclasses.asdict(ready).items()} | {"prepared": took}
    os.environ[engine.INSIDE] = json.dumps(about)
    return subprocess.run(engine.isolated([sys.executable, str(LAUNCHER), *sys.argv[1:]])).returncode


def _inside(options: argparse.Namespace) -> int:
    about = json.loads(os.environ.pop(engine.INSIDE))
    ready = images.Ready(
        [Path(item) for item in about["archives"]],
        *(Path(about[name]) for name in ("kind", "kubectl", "runtime", "charts")),
    )
    timings = {"prepared": about["prepared"]}
    with engine.running(ready.runtime, ready.archives, timings) as docker:
        say(f"a Docker engine of our own with {len(ready.archives)} archives of images is up")
        if options.what == "engine":
            tools = os.pathsep.join({str(ready.kind.parent), str(ready.kubectl.parent)})
            environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
            return subprocess.run(options.command or ["bash"], env=environment).returncode
        from endtoend import scenario

        return scenario.run(docker, ready, timings, options, say)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the first ``--``, and what after it."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], arguments[place + 1 :]


def _plain(value: object) -> object:
    return [str(item) for item in value] if isinstance(value, list) else str(value)


class _Shown:
    """Progress of the builds, a line where the text changes and at most one in some seconds."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, part: str, message: str, fraction: float | None) -> None:
        now = time.monotonic()
        if now - self._last > 10 or not message.startswith("compiling"):
            self._last = now
            say(f"{part}: {message}")
