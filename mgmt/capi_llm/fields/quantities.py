"""Versions, CPUs, memory and numbers of machines."""

from __future__ import annotations

import re
from typing import NamedTuple

from capi_llm import compatibility, versions
from capi_llm.errors import BadInput
from capi_llm.fields.names import shown

CPU = r"[0-9]{1,7}m|[0-9]{1,4}(\.[0-9]{1,3})?"
MEMORY = r"[0-9]{1,9}(\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)"
WORKERS = r"\s*[0-9]{1,9}(\.\.[0-9]{1,9})?\s*"
VERSION = r"v?[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?"

_CPU = re.compile(CPU)
_MEMORY = re.compile(MEMORY)
_UNITS = {"k": "Ki", "m": "Mi", "g": "Gi", "t": "Ti", "p": "Pi"}

MOST_MACHINES = 5000
"""Nodes that Kubernetes supports in one cluster."""

DEFAULT_WORKERS = "1..3"


class Range(NamedTuple):
    """How many machines: ``minimum`` to ``maximum`` for an autoscaler, or ``fixed``."""

    minimum: int
    maximum: int
    fixed: bool = False

    def __str__(self) -> str:
        return str(self.minimum) if self.fixed else f"{self.minimum}..{self.maximum}"


def kubernetes_version(text: str, where: str) -> str:
    """A Kubernetes version that Cluster API can make a cluster of, with its ``v``."""
    low, high = versions.WORKLOAD_MINORS
    try:
        version = versions.parse(text)
    except ValueError as error:
        short = re.fullmatch(r"v?([0-9]+\.[0-9]+)", text)
        default = versions.parse(versions.WORKLOAD_KUBERNETES)
        close = versions.WORKLOAD_KUBERNETES
        if short and short[1] != f"{default.major}.{default.minor}":
            close = f"v{short[1]}.0"
        raise BadInput(
            f"{where}: {shown(text)} is not a version", why="it has three numbers", fix=f"e.g. {close}"
        ) from error
    if version.major != 1 or not low <= version.minor <= high:
        raise BadInput(
            f"{where}: Kubernetes {text} is not supported by Cluster API {versions.CLUSTER_API}",
            why=f"it makes clusters of 1.{low} to 1.{high}",
            fix=f"use {versions.WORKLOAD_KUBERNETES}",
        )
    return str(version)


def node_kubernetes(text: str, where: str) -> str:
    """A Kubernetes version that a management cluster may have, with its ``v``."""
    low, high = versions.MANAGEMENT_MINORS
    try:
        version = versions.parse(text)
    except ValueError as error:
        raise BadInput(
            f"{where}: {shown(text)} is not a version",
            why="it has three numbers",
            fix=f"e.g. {versions.NODE_KUBERNETES}",
        ) from error
    if version.major != 1 or not low <= version.minor <= high:
        raise BadInput(
            f"{where}: Cluster API {versions.CLUSTER_API} does not run on Kubernetes {text}",
            why=f"it supports management clusters of 1.{low} to 1.{high}",
            fix=f"use {versions.NODE_KUBERNETES}",
        )
    return str(version)


def control_plane(count: int, where: str) -> int:
    """How many control plane machines: an odd number, as etcd needs a majority."""
    if count < 1 or count > 9 or count % 2 == 0:
        close = min(max(count + 1 if count % 2 == 0 else count, 1), 9)
        raise BadInput(
            f"{where}: {count} is not a number of control plane machines",
            why="etcd needs a majority: 1, 3, 5, 7 or 9",
            fix=f"use {close}",
        )
    return count


def cpu(text: str, where: str) -> str:
    """A quantity of CPUs: ``4``, ``0.5``, ``500m``."""
    match = _CPU.fullmatch(text)
    if match is None or float(text.removesuffix("m")) == 0:
        number = re.match(r"[0-9]{1,4}(\.[0-9]{1,3})?", text)
        close = number[0] if number and float(number[0]) else "2"
        raise BadInput(
            f"{where}: {shown(text)} is not a number of CPUs", fix=f"use {close!r} (or e.g. '500m')"
        )
    return text


def memory(text: str, where: str) -> str:
    """A quantity of memory with its unit: ``4Gi``, ``512Mi``, ``4G``."""
    match = _MEMORY.fullmatch(text)
    if match is None or float(text.rstrip("KMGTPki")) == 0:
        parts = re.match(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([A-Za-z]?)", text)
        close = "4Gi"
        if parts and float(parts[1]):
            close = parts[1] + _UNITS.get(parts[2].lower(), "Gi")
        why = "without a unit it would be bytes" if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else ""
        raise BadInput(f"{where}: {shown(text)} is not an amount of memory", why=why, fix=f"use {close!r}")
    return text


def rancher_version(text: str, where: str) -> str:
    """A version of Rancher that this version of capi-llm knows, with its ``v``."""
    return compatibility.row(text.strip(), where).rancher


def workers(text: str, where: str = "--workers") -> Range:
    """``1..3`` (an autoscaler's range) or ``2`` (fixed)."""
    match = re.fullmatch(r"([0-9]{1,9})(?:\.\.([0-9]{1,9}))?", text.strip())
    if match is None:
        numbers = re.findall(r"[0-9]{1,4}", text)
        close = "..".join(numbers) if 1 <= len(numbers) <= 2 else DEFAULT_WORKERS
        raise BadInput(
            f"{where}: {shown(text)} is not a number of machines",
            why="it is MIN..MAX or N",
            fix=f"use {close}",
        )
    low = int(match[1])
    high = int(match[2]) if match[2] else low
    if low > high:
        raise BadInput(f"{where}: {text} has its minimum above its maximum", fix=f"use {high}..{low}")
    if high > MOST_MACHINES:
        raise BadInput(
            f"{where}: {text} is more than the {MOST_MACHINES} machines a cluster can have",
            fix=f"use {MOST_MACHINES if low > MOST_MACHINES or not match[2] else f'{low}..{MOST_MACHINES}'}",
        )
    if high == 0 and match[2]:
        raise BadInput(f"{where}: {text} leaves nothing to scale", fix="use 0 or 0..1")
    return Range(low, high, fixed=not match[2])
