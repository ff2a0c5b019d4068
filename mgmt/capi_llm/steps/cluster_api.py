"""Cluster API's CRDs, RBAC and webhooks, as its own manifests have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from capi_llm.kube.apply import Applied, apply
from capi_llm.sandbox import components, executables, pki
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.waiting import Status, pending, ready


class ClusterApi(Step):
    """Ready when a dry run of every object would change nothing."""

    name = "cluster-api"
    interval = 1.0
    timeout = budgets.CLUSTER_API

    def __init__(self, needs: tuple[str, ...]) -> None:
        self.needs = needs

    def probe(self, ctx: Context) -> Status:
        return unapplied(apply(ctx.api(), self._objects(ctx), dry_run=True))

    def apply(self, ctx: Context) -> None:
        objects = self._objects(ctx)
        ctx.report.progress(self.name, f"applying {len(objects)} objects")
        apply(ctx.api(), objects)

    def _objects(self, ctx: Context) -> list[dict[str, Any]]:
        folder: Path = executables.paths(ctx.settings)["capi-components"]
        return components.load(folder, ctx.identity.ports, pki.authority_pem(ctx.sandbox))


def unapplied(results: list[Applied]) -> Status:
    """READY if nothing in ``results`` of a dry run would change."""
    open_ = [item for item in results if item.action != "unchanged"]
    if not open_:
        return ready(f"{len(results)} objects in place")
    return pending(f"{len(open_)} of {len(results)} objects to apply, first {open_[0].ref}")
