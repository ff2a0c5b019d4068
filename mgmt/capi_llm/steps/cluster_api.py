"""Cluster API's CRDs, RBAC and webhooks, as its own manifests have them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from capi_llm.kube import record
from capi_llm.kube.apply import Applied, apply
from capi_llm.kube.resources import Object
from capi_llm.sandbox import components, executables, pki
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.waiting import Status, pending, ready

RECORD = "capi-llm-cluster-api"
"""ConfigMap in kube-system: see :mod:`capi_llm.kube.record`."""


class Recorded(Step):
    """Ready when a dry run of every object would change nothing, and that is recorded for readers.

    A reader trusts the record where it holds, and asks for the dry run where it does not.
    """

    interval = 1.0
    timeout = budgets.CLUSTER_API

    @abstractmethod
    def objects(self, ctx: Context) -> list[Object]:
        """What is to be there."""

    @abstractmethod
    def key(self, ctx: Context) -> str:
        """A word that stands for :meth:`objects`, found faster."""

    def probe(self, ctx: Context) -> Status:
        status = self._dry_run(ctx)
        if status.ready and not record.holds(ctx.api(), RECORD, self.key(ctx)):
            return pending("its record for readers is to be written")
        return status

    def glance(self, ctx: Context) -> Status:
        count = record.holds(ctx.api(), RECORD, self.key(ctx))
        return ready(f"{count} objects in place") if count else self._dry_run(ctx)

    def apply(self, ctx: Context) -> None:
        objects = self.objects(ctx)
        ctx.report.progress(self.name, f"applying {len(objects)} objects")
        record.write(ctx.api(), RECORD, self.key(ctx), apply(ctx.api(), objects))

    def _dry_run(self, ctx: Context) -> Status:
        return unapplied(apply(ctx.api(), self.objects(ctx), dry_run=True))


class ClusterApi(Recorded):
    """Those of a sandbox, whose managers are processes."""

    name = "cluster-api"

    def __init__(self, needs: tuple[str, ...]) -> None:
        self.needs = needs

    def objects(self, ctx: Context) -> list[Object]:
        return components.load(*self._inputs(ctx))

    def key(self, ctx: Context) -> str:
        return components.fingerprint(*self._inputs(ctx))

    def _inputs(self, ctx: Context) -> tuple[Path, Mapping[str, int], str]:
        paths = ctx.once("executables", lambda: executables.paths(ctx.settings))
        return paths["capi-components"], ctx.identity.ports, pki.authority_pem(ctx.sandbox)


def unapplied(results: list[Applied]) -> Status:
    """READY if nothing in ``results`` of a dry run would change."""
    open_ = [item for item in results if item.action != "unchanged"]
    if not open_:
        return ready(f"{len(results)} objects in place")
    return pending(f"{len(open_)} of {len(results)} objects to apply, first {open_[0].ref}")
