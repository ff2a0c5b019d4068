"""The sandbox's own processes are killed or stopped at random while a command waits.

One sandbox; each round is one command. It must go on by itself and end well. Where the
supervisor was killed `bootstrap` has to bring it back; `bootstrap` and `wait plane` may end then and
say so, and are run again.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil

from soaking.decoys import Decoys
from soaking.life import CLUSTER, Life, Run

Wrong = Callable[[Life], list[str]]
_SCALE = ("scale", CLUSTER, "--workers", "2", "--no-wait")
ROUNDS: tuple[tuple[tuple[str, ...], tuple[str, ...], Wrong], ...] = (
    ((), ("new-cluster", CLUSTER, "--workers", "1..3"), lambda it: it.cluster_wrong(1)),
    ((), ("scale", CLUSTER, "--workers", "3"), lambda it: it.cluster_wrong(3)),
    (_SCALE, ("wait", "cluster", CLUSTER), lambda it: it.cluster_wrong(2)),
    (("KILL",), ("wait", "plane"), lambda it: it.plane_wrong()),
    ((), ("delete-cluster", CLUSTER, "--yes"), lambda it: it.no_cluster_wrong()),
    (("KILL ALL",), ("bootstrap",), lambda it: it.plane_wrong()),
)  # fmt: skip
"""What comes before, the command that waits, and what must be true after it."""

_LONGEST = {"bootstrap": 12.0, "new-cluster": 12.0, "scale": 8.0, "wait": 5.0, "delete-cluster": 5.0}


def series(
    dice: random.Random, *, kills: int, deadline: float, recycle: bool, say: Any
) -> list[dict[str, Any]]:
    """Rounds until ``kills`` events have hit, or the time is over. One result each."""
    life, decoys = Life.begin(0), Decoys(recycle)
    rounds: list[dict[str, Any]] = []
    try:
        first = life.run("bootstrap")
        if first.code:
            return [{"wrong": [first.last]}]
        life.plane_wrong()
        while sum(item["kills"] for item in rounds) < kills and time.monotonic() < deadline:
            rounds.append(_round(life, decoys, dice, *ROUNDS[len(rounds) % len(ROUNDS)]))
            item = rounds[-1]
            say(f"round {len(rounds)}: {item['command']}, {item['events']}, then {item['ended']}"
                + (f", WRONG: {item['wrong']}" if item["wrong"] else ", good"))  # fmt: skip
            if item["wrong"]:
                break  # what comes after would tell of this again
        last = life.run("destroy", "--yes")
        left = [f"left: {path}" for path in life.left()] + decoys.dead() + ([last.last] if last.code else [])
        rounds.append({"command": "destroy", "events": [], "kills": 0, "ended": last.seconds,
                       "pids recycled": decoys.recycled, "wrong": left})  # fmt: skip
    finally:
        decoys.end()
        life.clear()
    return rounds


def _round(
    life: Life,
    decoys: Decoys,
    dice: random.Random,
    before: tuple[str, ...],
    argv: tuple[str, ...],
    wrong: Wrong,
) -> dict[str, Any]:
    there = life.processes()
    if before[:1] == ("KILL",):
        _kill(decoys, there[dice.choice(sorted(set(there) - {"supervisor"}))])
    elif before[:1] == ("KILL ALL",):
        for part in sorted(there, key=lambda part: part != "supervisor"):
            _kill(decoys, there[part])
    elif before:
        life.run(*before)
    since = time.monotonic()
    command = life.start(argv)
    events: list[str] = []
    names: set[str] = set()
    for moment in sorted(dice.uniform(0.3, _LONGEST[argv[0]]) for _ in range(dice.randint(1, 3))):
        with contextlib.suppress(Exception):
            command.wait(max(0.01, since + moment - time.monotonic()))
        if command.poll() is not None:
            break
        hit = _event(life, decoys, dice)
        if not hit:
            continue  # nothing runs just now
        names |= hit
        events.append(f"{' + '.join(sorted(hit))} at {time.monotonic() - since:.1f} s")
    ended = life.end(command, argv, since)
    found = _judge(life, ended, names, argv)
    found += wrong(life) if not found else []
    return {
        "command": " ".join(argv), "events": events, "kills": len(events), "ended": ended.seconds,
        "code": ended.code, "wrong": found + decoys.dead(),
    }  # fmt: skip


def _judge(life: Life, ended: Run, hit: set[str], argv: tuple[str, ...]) -> list[str]:
    may_end = "supervisor" in hit and argv[0] in ("bootstrap", "wait")
    if ended.code and not may_end:
        return [f"it ended with {ended.code}: {ended.last}"]
    if ended.code is None:
        return [f"it hung: {ended.last}"]
    if "supervisor" in hit:
        brought = life.run("bootstrap")
        again = life.run(*argv) if ended.code else brought
        return [item.last for item in (brought, again) if item.code]
    # A part may have been killed in the last moment: the supervisor needs its time.
    waited = life.run("wait", "plane", "--timeout", "120s")
    return [waited.last] if waited.code else []


def _event(life: Life, decoys: Decoys, dice: random.Random) -> set[str]:
    """One or two parts are killed, or one is stopped for a while."""
    there = life.processes()
    kind = dice.choice(("kill", "kill", "kill", "both", "stop"))
    if kind == "both" and {"kube-apiserver", "etcd"} <= set(there):
        for part in ("kube-apiserver", "etcd"):
            _kill(decoys, there[part])
        return {"kube-apiserver", "etcd"}
    if not there:
        return set()
    part = dice.choice(sorted(there))
    if kind == "stop":
        with contextlib.suppress(psutil.Error):
            there[part].send_signal(signal.SIGSTOP)
            time.sleep(dice.uniform(1, 5))
            there[part].send_signal(signal.SIGCONT)
        return {f"{part} stopped"}
    _kill(decoys, there[part])
    return {part}


def _kill(decoys: Decoys, process: psutil.Process) -> None:
    pid = process.pid
    with contextlib.suppress(psutil.Error):
        process.kill()
        process.wait(10)
    decoys.sit_on(pid, "part")
