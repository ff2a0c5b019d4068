"""The cluster that a plane of kind ``existing`` is on: it answers, and is the one that was recorded."""

from __future__ import annotations

from capi_llm.identity import check_uid
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.waiting import Status, pending, ready

NAME = "management-cluster"
"""The step after which the plane's API server answers, on a plane of kind ``kind`` or ``existing``."""


def identified(ctx: Context) -> Status:
    """READY when the API server answers and is the one that the plane's file names. Raises Refused."""
    status = ctx.api().ready()
    if not status.ready:
        return status
    check_uid(ctx.identity, ctx.api().uid())
    return ready("answers") if ctx.identity.uid else pending("its identity is to be recorded")


class ExistingCluster(Step):
    """Nothing is made and nothing is removed: the cluster is somebody else's."""

    name = NAME
    interval = 1.0
    timeout = budgets.PROCESS

    def probe(self, ctx: Context) -> Status:
        return identified(ctx)

    def apply(self, ctx: Context) -> None:
        if not ctx.identity.uid and ctx.api().ready().ready:
            ctx.plane.record_uid(ctx.api().uid())
