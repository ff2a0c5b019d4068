"""The bootstrap is killed, its engine restarted under it; and the same steps as a plain script beside it."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from importlib import resources
from pathlib import Path
from typing import Any

from capi_llm.settings import load
from capi_llm.tools import prepare
from endtoend import names
from endtoend.journey import BOOTSTRAP, destroy
from endtoend.run import Run, Wrong

HERE = Path(__file__).resolve().parent


def kills(run: Run, count: int, seed: int, usual: float) -> None:
    """``count`` new planes; on each the bootstrap, which takes ``usual`` seconds, is killed and run again."""
    chosen = random.Random(seed)
    with run.part(f"bootstrap killed {count} times") as seen:
        rounds: list[dict[str, Any]] = []
        seen.update(seed=seed, rounds=rounds)
        for number in range(count):
            moment = round(chosen.uniform(0.5, usual), 1)
            ended = run.killed(moment, *BOOTSTRAP)
            again = run.capi_llm(*BOOTSTRAP)
            rounds.append({"killed after": moment, "was done": ended is not None, "again": again.seconds})
            run.say(f"kill {number + 1} of {count}: after {moment} s, again {again.seconds} s")
            if not run.is_ready():
                raise Wrong(f"the plane is not Ready after a kill at {moment} s")
            run.capi_llm("destroy", "--yes")


def restart_within(run: Run, usual: float) -> None:
    """The engine is restarted in the middle of a bootstrap, which goes on or is run again."""
    with run.part("engine restarted in a bootstrap") as seen:

        def restart() -> None:
            seen["stopped in"] = round(run.engine.stop(), 1)
            seen["started in"] = round(run.engine.start(), 1)

        timer = threading.Timer(usual / 2, restart)
        timer.start()
        first = run.capi_llm(*BOOTSTRAP, codes=(0, 1, 3, 4))
        timer.join()
        seen["first"] = {"code": first.code, "seconds": first.seconds, "said": first.said[-600:]}
        seen["again"] = run.capi_llm(*BOOTSTRAP).seconds
        if not run.is_ready():
            raise Wrong("the plane is not Ready")
    destroy(run)


def sequential(run: Run) -> None:
    """The same steps one after the other, as such bootstraps are scripted."""
    with run.part("sequential script") as seen:
        parts = prepare.find(["capi-components"], cache_dir=load().cache)
        definition = run.folder / "class.yaml"
        definition.write_text(
            (resources.files("capi_llm.clusterclasses") / "docker-llm/class.yaml").read_text()
        )
        launcher = run.folder / "certificates"
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "certificates.py"}" "$@"\n')
        launcher.chmod(0o755)
        command: list[str | Path] = [HERE / "sequential.sh", "sequential", names.node(names.KUBERNETES)]
        command += [parts["capi-components"], launcher, definition, *names.MANAGERS.values()]
        done = subprocess.run(command, env=run.environment, text=True, capture_output=True)
        seen["steps"] = dict(line.split("\t") for line in done.stdout.splitlines())
        run.engine.docker("rm", "-f", "-v", "sequential-control-plane", check=False)
        if done.returncode:
            raise Wrong(f"the sequential script ended with {done.returncode}: {done.stderr[-2000:]}")
        seen["command"] = round(sum(map(float, seen["steps"].values())), 1)
