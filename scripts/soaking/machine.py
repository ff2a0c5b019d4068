"""The machine itself misbehaves: its disk is full, or its clock is wrong, during each command.

The disk is a small one made for this (tmpfs, needs root). The clock is that of the command line
only (faketime): the sandbox's own parts are Go programs, which ask the kernel, and the
kernel's clock belongs to everybody on the machine.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from soaking import kills as killing
from soaking import life as lives
from soaking.kills import COMMANDS
from soaking.life import Life

_CLOCKS = ("-11h", "-1h", "-90s", "+90s", "+1h", "+11h")
"""Certificates are dated back by a day; what one clock made has to be good for every other."""
_SLEEPING = f"PYTHONPATH={Path(__file__).parents[2] / 'tests/wrongclock'}"
"""Sleeps that faketime does not break: its sitecustomize.py says how."""
_DISK = "700m"


def series(
    dice: random.Random, *, kills: int, deadline: float, recycle: bool, say: Any
) -> list[dict[str, Any]]:
    """``kills`` lives, in turn with a disk that fills up and with a wrong clock."""
    rounds: list[dict[str, Any]] = []
    kinds = [kind for kind, can in (("disk", recycle), ("clock", shutil.which("faketime"))) if can]
    while kinds and len(rounds) < kills and time.monotonic() < deadline:
        kind = kinds[len(rounds) % len(kinds)]
        rounds.append(_full_disk(len(rounds), dice) if kind == "disk" else _wrong_clock(len(rounds), dice))
        item = rounds[-1]
        say(f"{kind}: {item['commands']}" + (f" WRONG: {item['wrong']}" if item["wrong"] else " good"))
    return rounds


def _full_disk(number: int, dice: random.Random) -> dict[str, Any]:
    """Each command begins with room; from a random moment on the disk is full, until the command ends."""
    wrong: list[str] = []
    told: list[str] = []
    with _disk() as folder:
        life = Life.begin(number, folder / "life")
        life.folder.mkdir()
        try:
            for argv, usual, workers in COMMANDS:
                since = time.monotonic()
                command = life.start(
                    (*argv, "--timeout", "60s")
                    if argv[0] in ("new-cluster", "scale", "delete-cluster")
                    else argv
                )
                with contextlib.suppress(subprocess.TimeoutExpired):
                    command.wait(dice.uniform(0.05, usual))
                filling = _fill(folder)
                first = life.end(command, argv, since)
                filling.unlink()
                again = life.run(*argv) if first.code or argv[0] != "destroy" else first
                told.append(f"{argv[0]}: {first.code} then {again.code}")
                if first.code and ("to go on" not in first.said or "itself failed" in first.said):
                    wrong.append(f"{argv[0]}: no clear message: {first.last}")
                wrong += [f"{argv[0]}: {item}" for item in killing.wrong(life, argv[0], again, workers)]
                life.note()
        finally:
            life.clear()
    return {"round": number, "kind": "full disk", "commands": told, "wrong": wrong}


def _wrong_clock(number: int, dice: random.Random) -> dict[str, Any]:
    """Each command has a clock of its own that is off by seconds or hours."""
    wrong: list[str] = []
    told: list[str] = []
    life = Life.begin(number)
    before = lives.CAPI_LLM
    try:
        for argv, _, workers in COMMANDS:
            clock = dice.choice(_CLOCKS)
            lives.CAPI_LLM = ("faketime", "--exclude-monotonic", "-f", clock, "env", _SLEEPING, *before)
            ended = life.run(*argv)
            lives.CAPI_LLM = before
            told.append(f"{argv[0]} {clock}: {ended.code}")
            wrong += [
                f"{argv[0]} at {clock}: {item}" for item in killing.wrong(life, argv[0], ended, workers)
            ]
            life.note()
    finally:
        lives.CAPI_LLM = before
        life.clear()
    return {"round": number, "kind": "wrong clock", "commands": told, "wrong": wrong}


@contextlib.contextmanager
def _disk() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="capi-llm-soak-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "small", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def _fill(folder: Path) -> Path:
    path = folder / "filling"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(folder).free - 4096))
        while True:
            file.seek(0, os.SEEK_END)
            file.write(b"\0" * 512)
    return path
