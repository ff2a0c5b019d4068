"""Two KWOK clusters are created at once, again and again: no port and no store may be shared.

One sandbox for all rounds. In each, two commands are started in the same moment and run to
their end; then the ports that were noted, those that the processes really listen on, the
folders of both etcds and what both API servers hold are compared, and both are deleted.
"""

from __future__ import annotations

import json
import random
import time
from typing import Any

import psutil

from soaking.life import Life

NAMES = ("one", "other")
_PARTS = {"supervisor", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}


def series(
    dice: random.Random, *, kills: int, deadline: float, recycle: bool, say: Any
) -> list[dict[str, Any]]:
    """``kills`` rounds, or as many as there is time for."""
    life = Life.begin(0)
    rounds: list[dict[str, Any]] = []
    try:
        made = life.run("bootstrap", "--plane", "sandbox")
        if made.code:
            return [{"round": 0, "wrong": [f"bootstrap: {made.last}"]}]
        life.note()
        while len(rounds) < kills and time.monotonic() < deadline:
            rounds.append(_round(life, len(rounds)))
            item = rounds[-1]
            words = "good" if not item["wrong"] else f"WRONG: {item['wrong']}"
            times = f"ready after {item['ready']} s, gone after {item['deleted']} s"
            say(f"round {item['round']}: {times}, {words}")
        ended = life.run("destroy", "--yes")
        left = life.left() if not ended.code else [ended.last]
        if left:
            rounds.append({"round": len(rounds), "wrong": [f"left: {item}" for item in left]})
    finally:
        life.clear()
    return rounds


def _round(life: Life, number: int) -> dict[str, Any]:
    wrong: list[str] = []
    since = time.monotonic()
    commands = {name: life.start(("new-cluster", name, "--workers", "1")) for name in NAMES}
    ready = []
    for name, command in commands.items():
        ended = life.end(command, ("new-cluster", name), since)
        ready.append(ended.seconds)
        if ended.code:
            wrong.append(f"new-cluster {name}: {ended.last}")
    memory: list[int] = []
    if not wrong:
        wrong, memory = _shared(life)
    since = time.monotonic()
    for name in NAMES:
        ended = life.run("delete-cluster", name, "--yes")
        if ended.code:
            wrong.append(f"delete-cluster {name}: {ended.last}")
    deleted = round((time.monotonic() - since) / len(NAMES), 1)
    wrong += life.no_cluster_wrong()
    return {"round": number, "ready": ready, "deleted": deleted, "megabytes": memory, "wrong": wrong}


def _shared(life: Life) -> tuple[list[str], list[int]]:
    """What the two clusters share, or lack; and the memory that each takes (MB, PSS)."""
    files = [json.loads(path.read_text()) for path in sorted((life.root / "clusters").glob("*/cluster.json"))]
    wrong = [] if len(files) == len(NAMES) else [f"{len(files)} control planes"]
    noted = [port for item in files for port in item["ports"].values()] + list(life.ports.values())
    wrong += [f"port {port} was given twice" for port in set(noted) if noted.count(port) > 1]
    memory, stores, holders = [], [], {}
    for item in files:
        mark = f" of cluster {item['uid'][:8]}"
        own = {part.removesuffix(mark): it for part, it in life.processes().items() if part.endswith(mark)}
        if set(own) != _PARTS:
            wrong.append(f"{item['name']} runs {sorted(own)}")
            continue
        memory.append(round(sum(process.memory_full_info().pss for process in own.values()) / 1e6))
        stores += [word for word in own["etcd"].cmdline() if word.startswith("--data-dir=")]
        listens = {
            connection.laddr.port
            for process in own.values()
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        if listens != set(item["ports"].values()):
            wrong.append(
                f"{item['name']} listens on {sorted(listens)}, noted are {sorted(item['ports'].values())}"
            )
        holders[item["name"]] = item["kube_system"]
    if len(set(stores)) != len(stores):
        wrong.append(f"one store: {stores}")
    for name in NAMES:
        kubectl = ("kubeconfig", name, "--", "kubectl")
        life.run(*kubectl, "create", "configmap", f"of-{name}")
        there = life.run(*kubectl, "get", "configmaps", "-o", "name").data.split()
        if [item for item in there if item.startswith("configmap/of-")] != [f"configmap/of-{name}"]:
            wrong.append(f"{name} holds {there}")
        uid = life.run(*kubectl, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}").data
        if uid != holders.get(name):
            wrong.append(f"{name} answers as {uid}, noted is {holders.get(name)}")
    if len(set(holders.values())) != len(NAMES):
        wrong.append(f"one API server: {holders}")
    return wrong, memory
