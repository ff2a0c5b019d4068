"""Programs that a kind cluster with Rancher is made with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from capi_llm import shell, versions
from capi_llm.checks import Check, not_needed, ok, warning
from capi_llm.doctor.probing import ALL_SECONDS, PROBE_SECONDS, side_by_side
from capi_llm.errors import CapiLlmError

_ASK = {
    "kind": ("version",),
    "helm": ("version", "--short"),
    "kubectl": ("version", "--client"),
    "clusterctl": ("version", "-o", "short"),
}
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_NEW_NODES = (0, 31)
"""kind v0.31's default node is Kubernetes 1.35, which Rancher 2.13's chart refuses
(https://github.com/kubernetes-sigs/kind/blob/v0.31.0/pkg/apis/config/defaults/image.go)."""


@dataclass(frozen=True)
class Program:
    """Facts. ``path`` is "" where it is not there; ``version`` is "" with ``why`` where it does not say."""

    path: str
    version: str = ""
    why: str = ""


def gather(env: Mapping[str, str], cached: Mapping[str, Path]) -> dict[str, Program]:
    """``cached`` are programs that are here without being on PATH."""
    looks = side_by_side({name: partial(_look, name, env, cached) for name in _ASK}, seconds=ALL_SECONDS - 4)
    return {name: look.value or Program("", why=look.why) for name, look in looks.items()}


def judge(seen: Mapping[str, Program]) -> list[Check]:
    return [_program(name, program) for name, program in seen.items()]


def _program(name: str, program: Program) -> Check:
    if not program.path:
        return not_needed(name, f"{program.why or 'not on PATH'}; bootstrap brings the one that it uses")
    if not program.version:
        return warning(
            name, f"{program.path} does not say its version: {program.why}", f"check {program.path}"
        )
    text = f"{program.version} at {program.path}"
    if name == "kind" and numbers(program.version)[:2] >= _NEW_NODES:
        return warning(
            name,
            f"{text}: its default node is too new for Rancher 2.13 and Cluster API {versions.CLUSTER_API}",
            "give it an older node image",
        )
    if name == "clusterctl" and numbers(program.version)[:2] != numbers(versions.CLUSTER_API)[:2]:
        return warning(
            name,
            f"{text}, Cluster API here is {versions.CLUSTER_API}",
            "capi-llm sandbox prepare has that one",
        )
    return ok(name, text)


def numbers(text: str) -> tuple[int, ...]:
    match = _VERSION.search(text)
    return tuple(map(int, match.groups())) if match else (0, 0, 0)


def _look(name: str, env: Mapping[str, str], cached: Mapping[str, Path]) -> Program:
    path = shell.which(name) or cached.get(name)
    if path is None:
        return Program("")
    if name == "clusterctl":
        # It would ask GitHub for a newer one, and make a folder for its configuration.
        env = {**env, "CLUSTERCTL_DISABLE_VERSIONCHECK": "true", "XDG_CONFIG_HOME": os.devnull}
    try:
        output = shell.run([path, *_ASK[name]], env=env, timeout=PROBE_SECONDS)
    except CapiLlmError as error:
        return Program(str(path), why=error.what)
    match = _VERSION.search(output.stdout)
    return Program(str(path), f"v{'.'.join(match.groups())}" if match else "", "its answer has none")
