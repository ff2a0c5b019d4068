"""The kinds of our KWOK provider, and what it may do: CRDs and RBAC, as in :mod:`capi_llm.provider`."""

from __future__ import annotations

from capi_llm.kube.apply import apply
from capi_llm.provider import manifests
from capi_llm.steps import budgets
from capi_llm.steps.cluster_api import unapplied
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.waiting import Status


class ProviderKinds(Step):
    name = "kwok-kinds"
    timeout = budgets.CLUSTER_API

    def __init__(self, needs: tuple[str, ...]) -> None:
        self.needs = needs

    def probe(self, ctx: Context) -> Status:
        return unapplied(apply(ctx.api(), manifests.objects(), dry_run=True))

    def apply(self, ctx: Context) -> None:
        apply(ctx.api(), manifests.objects())
