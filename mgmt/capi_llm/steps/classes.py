"""The ClusterClasses that ship with capi-llm and fit the plane.

Applying them proves Cluster API's webhooks: the probe is a dry run that goes through them,
so READY means that a cluster can be created, not only that processes run.
"""

from __future__ import annotations

from dataclasses import replace

from capi_llm.clusters import classes
from capi_llm.kube.apply import Applied
from capi_llm.steps import budgets
from capi_llm.steps.cluster_api import unapplied
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.waiting import Status

_LOOK_SECONDS = 0.1


class ClusterClasses(Step):
    """Applies the shipped classes called ``names``, in namespace default."""

    name = "cluster-classes"
    interval = 1.0
    timeout = budgets.CLASSES

    def __init__(self, names: tuple[str, ...], needs: tuple[str, ...]) -> None:
        self._names = names
        self.needs = needs

    def probe(self, ctx: Context) -> Status:
        return unapplied(self._apply(ctx, dry_run=True))

    def apply(self, ctx: Context) -> None:
        self._apply(ctx)

    def _apply(self, ctx: Context, *, dry_run: bool = False) -> list[Applied]:
        # A class is accepted within a blink; the step's own interval is for webhooks that are away.
        waiter = replace(ctx.waiter, interval=_LOOK_SECONDS)
        folders = [folder for folder in classes.shipped() if folder.name in self._names]
        return [
            item
            for folder in folders
            for item in classes.apply_folder(ctx.api(), folder, dry_run=dry_run, waiter=waiter)
        ]
