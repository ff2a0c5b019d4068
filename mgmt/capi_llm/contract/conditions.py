"""Conditions and counts, whichever dialect of Cluster API wrote them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
"""A Kubernetes object as JSON."""


@dataclass(frozen=True)
class Condition:
    """One condition. ``status`` is ``True``, ``False`` or ``Unknown``.

    ``stale`` says that the object was changed after the condition was computed. Only for
    conditions that are computed every time does that mean anything: ``Ready``, ``Available``,
    ``TopologyReconciled``. Others, such as ``ControlPlaneInitialized``, are written once.
    """

    type: str
    status: str
    reason: str = ""
    message: str = ""
    stale: bool = False

    @property
    def true(self) -> bool:
        return self.status == "True"

    @property
    def false(self) -> bool:
        return self.status == "False"


@dataclass(frozen=True)
class Replicas:
    """Machines of a control plane or a pool.

    The new dialect's where it is there. ``ready`` is the smaller one where both are: the new dialect
    counts Machines and the old one Nodes, at different moments, and ``kubectl get`` shows the old one.
    """

    desired: int = 0
    current: int = 0
    ready: int = 0
    up_to_date: int = 0
    available: int = 0


def status_of(obj: Object) -> Mapping[str, Any]:
    """``status``, empty where the object has none yet."""
    return obj.get("status") or {}


def generation(obj: Object) -> int:
    """How often the object's spec changed."""
    return int((obj.get("metadata") or {}).get("generation") or 0)


def observed(obj: Object) -> bool:
    """Whether the controller has seen the newest spec, as far as the object says."""
    seen = status_of(obj).get("observedGeneration")
    return seen is None or int(seen) >= generation(obj)


def deleting(obj: Object) -> bool:
    """Whether the object is on its way out."""
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))


def finalizers(obj: Object) -> tuple[str, ...]:
    """Who still holds a deleted object back."""
    return tuple((obj.get("metadata") or {}).get("finalizers") or ())


def new_dialect(obj: Object) -> bool:
    """Whether the object carries conditions of the new dialect."""
    return "v1beta2" in status_of(obj) or str(obj.get("apiVersion", "")).endswith("/v1beta2")


def conditions(obj: Object) -> dict[str, Condition]:
    """The conditions by type: ``status.v1beta2`` first, then ``status``."""
    status = status_of(obj)
    raw = (status.get("v1beta2") or status).get("conditions") or []
    found = {}
    for entry in raw:
        seen = entry.get("observedGeneration")
        found[entry["type"]] = Condition(
            entry["type"],
            entry.get("status", "Unknown"),
            entry.get("reason", ""),
            (entry.get("message") or "").strip(),
            seen is not None and int(seen) < generation(obj),
        )
    return found


def replicas(obj: Object) -> Replicas:
    """The counts of a control plane or MachineDeployment, of either dialect.

    ``desired`` is 0 where neither spec nor defaulting has said a number yet.
    """
    status = status_of(obj)
    newer = status.get("v1beta2") or {}

    def count(*names: str) -> int:
        for source in (newer, status):
            for name in names:
                if source.get(name) is not None:
                    return int(source[name])
        return 0

    return Replicas(
        desired=int((obj.get("spec") or {}).get("replicas") or 0),
        current=count("replicas"),
        # The old dialect leaves out a 0.
        ready=min(count("readyReplicas"), int(status.get("readyReplicas") or 0)),
        up_to_date=count("upToDateReplicas", "updatedReplicas"),
        available=count("availableReplicas"),
    )


def root_cause(message: str) -> str:
    """The deepest line of a summary, as one line.

    Cluster API nests: ``* InfrastructureReady:`` / ``  * VMProvisioned: WaitingForStartupTimeout``.
    The first chain is followed to its end, as the later ones usually wait for it.
    """
    chain: list[str] = []
    depth = -1
    for line in message.splitlines():
        text = line.lstrip(" *")
        if not text:
            continue
        # A bullet below a line without one is below it, though it is not indented.
        indent = len(line) - len(line.lstrip(" ")) + (1 if line.lstrip(" ").startswith("*") else 0)
        if indent <= depth:
            break
        chain.append(text.strip())
        depth = indent
    if not chain:
        return ""
    if len(chain) > 1 and chain[-2].endswith("because:"):
        return f"{chain[-2]} {chain[-1]}"
    return chain[-1].rstrip(":")


def words(reason: str) -> str:
    """A reason as words: ``WaitingForBootstrapData`` is ``waiting for bootstrap data``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", reason).lower()
