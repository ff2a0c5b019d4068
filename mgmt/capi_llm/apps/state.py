"""How an app is, from its inventory and its objects."""

from __future__ import annotations

from collections.abc import Callable

from capi_llm.apps.applyset import Parent
from capi_llm.apps.engine import AppStatus, Part
from capi_llm.contract import workloads
from capi_llm.kube.resources import Object, Ref
from capi_llm.waiting import State, Status, pending, ready

_APPLY = "capi-llm apps apply CLUSTER {} brings it back"


def status_of(app: str, parent: Parent | None, find: Callable[[Ref], Object | None]) -> AppStatus:
    """The status of ``app``, whose inventory is ``parent`` and whose objects ``find`` knows."""
    if parent is None:
        return AppStatus(app, pending("is not delivered"), delivered=False)
    if not parent.whole:
        status = pending("its delivery has not come to its end", fix=_APPLY.format(app))
        return AppStatus(app, status)
    parts = tuple(Part(member.ref, _of(app, find(member.ref))) for member in parent.members)
    return AppStatus(app, summary(parts), True, parent.version, parts)


def summary(parts: tuple[Part, ...]) -> Status:
    """One status for all: the first that failed, else the first that is not ready."""
    for state in (State.FAILED, State.PENDING):
        for part in parts:
            if part.status.state is state:
                found = part.status
                return Status(state, f"{part.ref}: {found.message}", found.cause, found.fix)
    return ready(f"{len(parts)} object{'' if len(parts) == 1 else 's'}")


def _of(app: str, obj: Object | None) -> Status:
    if obj is None:
        return pending("is missing", fix=_APPLY.format(app))
    return workloads.of(obj)
