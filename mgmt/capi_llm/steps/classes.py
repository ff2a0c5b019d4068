"""The ClusterClasses that ship with capi-llm and fit the plane.

Applying them proves Cluster API's webhooks: the probe is a dry run that goes through them,
so READY means that a cluster can be created, not only that processes run.
"""

from __future__ import annotations

from dataclasses import replace

from capi_llm.clusters import classes
from capi_llm.errors import NotFound
from capi_llm.kube.apply import Applied
from capi_llm.steps import budgets
from capi_llm.steps.cluster_api import unapplied
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.steps.objects import unserved
from capi_llm.waiting import Status, pending, ready, until

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
        try:
            return unapplied(self._apply(ctx, dry_run=True))
        except NotFound:
            # Providers that somebody else installs bring their kinds a moment after they are ready.
            served = self._served(ctx)
            return unapplied(self._apply(ctx, dry_run=True)) if served.ready else served

    def apply(self, ctx: Context) -> None:
        waiter = replace(
            ctx.waiter, interval=self.interval, report=lambda status: ctx.report.step(self.name, status)
        )
        until(lambda: self._written(ctx), what=self.name, timeout=self.timeout, waiter=waiter)

    def _written(self, ctx: Context) -> Status:
        """When its machine has just started, a webhook that is said to be there answers a while later."""
        served = self._served(ctx)
        if served.ready:
            self._apply(ctx)
        return served

    def _served(self, ctx: Context) -> Status:
        """Whether the API server knows the kinds of the classes."""
        missing = unserved(ctx.api(), [obj for folder in self._folders() for obj in folder.objects])
        if not missing:
            return ready()
        return pending(
            f"waits for the kind {missing}",
            cause="the provider that brings it is not there yet, or does not run",
            fix="see the pods of Cluster API's providers",
        )

    def _folders(self) -> list[classes.ClassFolder]:
        return [folder for folder in classes.shipped() if folder.name in self._names]

    def _apply(self, ctx: Context, *, dry_run: bool = False) -> list[Applied]:
        # A class is accepted within a blink; the step's own interval is for webhooks that are away.
        waiter = replace(ctx.waiter, interval=_LOOK_SECONDS)
        return [
            item
            for folder in self._folders()
            for item in classes.apply_folder(ctx.api(), folder, dry_run=dry_run, waiter=waiter)
        ]
