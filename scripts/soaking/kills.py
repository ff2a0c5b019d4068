"""The command line is killed with SIGKILL at random moments of every command that changes something.

A life goes once through bootstrap, new-cluster, scale up, scale down, delete-cluster, destroy.
Each of them is killed three to seven times and then run to its end, and what it promises is checked.
"""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path
from typing import Any

from soaking.decoys import Decoys
from soaking.life import CLUSTER, Life, Run

COMMANDS: tuple[tuple[tuple[str, ...], float, int | None], ...] = (
    (("bootstrap", "--plane", "sandbox"), 14.0, None),
    (("new-cluster", CLUSTER, "--workers", "1..3"), 16.0, 1),
    (("scale", CLUSTER, "--workers", "3"), 8.0, 3),
    (("scale", CLUSTER, "--workers", "1..2"), 4.0, 2),
    (("delete-cluster", CLUSTER, "--yes"), 6.0, 0),
    (("destroy", "--yes"), 2.0, None),
)
"""Command, about how many seconds it takes, and how many workers the cluster has after it."""

_GONE = {"delete-cluster": "there is no cluster", "destroy": "there is no management plane"}
"""What a command may say that was killed after its work was done."""


def series(
    dice: random.Random, *, kills: int, deadline: float, recycle: bool, say: Any
) -> list[dict[str, Any]]:
    """Lives until ``kills`` kills have hit, or the time is over. One result each."""
    lives: list[dict[str, Any]] = []
    while sum(life["kills"] for life in lives) < kills and time.monotonic() < deadline:
        lives.append(_life(len(lives), dice, recycle))
        life = lives[-1]
        words = "good" if not life["wrong"] else f"WRONG: {life['wrong']}"
        say(
            f"life {life['life']}: {life['kills']} kills, {life['seconds']} s, "
            f"{life['decoys']} foreign processes, {words}"
        )
    return lives


def _life(number: int, dice: random.Random, recycle: bool) -> dict[str, Any]:
    life, decoys, since = Life.begin(number), Decoys(recycle), time.monotonic()
    bad: list[str] = []
    commands: list[dict[str, Any]] = []
    try:
        for argv, usual, workers in COMMANDS:
            moments, last = _kill(life, decoys, argv, usual, dice)
            if argv[0] != "destroy" or last is None:
                last = life.run(*argv)
            entry = {"command": " ".join(argv), "killed after": moments, "then": last.seconds}
            commands.append(entry)
            found = wrong(life, argv[0], last, workers) + decoys.dead()
            bad += [f"{argv[0]}, killed after {moments}: {item}" for item in found]
            if argv[0] == "bootstrap":
                _surround(life, decoys)
            if found and argv[0] != "destroy":
                life.run("destroy", "--yes")
                break
        count = len(decoys)
    finally:
        decoys.end()
        life.clear()
    return {
        "life": number, "kills": sum(len(entry["killed after"]) for entry in commands),
        "seconds": round(time.monotonic() - since), "commands": commands, "decoys": count,
        "pids recycled": decoys.recycled, "wrong": bad,
    }  # fmt: skip


def _kill(
    life: Life, decoys: Decoys, argv: tuple[str, ...], usual: float, dice: random.Random
) -> tuple[list[float], Run | None]:
    """Kill the command three to seven times: when, and its end if it came before the last kill."""
    moments: list[float] = []
    wanted = dice.randint(3, 7)
    longest = usual
    while len(moments) < wanted:
        moment = dice.uniform(0.05, longest)
        pid, ended = life.kill_in(argv, moment)
        if ended is not None:
            if argv[0] == "destroy" or longest < 0.5:
                return moments, ended
            longest = moment / 2
            continue
        moments.append(round(moment, 2))
        decoys.sit_on(pid, argv[0])
        life.note()
    return moments, None


def wrong(life: Life, command: str, last: Run, workers: int | None) -> list[str]:
    done_before = command in _GONE and last.code == 1 and _GONE[command] in last.said
    if last.code != 0 and not done_before:
        return [f"it ended with {last.code}: {last.last}"]
    if command == "bootstrap":
        return life.plane_wrong()
    if command == "destroy":
        return [f"left: {item}" for item in life.left()]
    return life.cluster_wrong(workers) if workers else life.no_cluster_wrong()


def _surround(life: Life, decoys: Decoys) -> None:
    there = life.processes()
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    if "etcd" in there:
        names = [process.exe() for part, process in there.items() if part != "supervisor"]
        decoys.look_alikes(Path(life.root), there["etcd"].exe(), names, ports)
