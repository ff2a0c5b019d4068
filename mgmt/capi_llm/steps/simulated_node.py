"""One simulated node, so that pods in the sandbox's own API server are scheduled and run (by KWOK)."""

from __future__ import annotations

from capi_llm.contract import core
from capi_llm.kube.apply import apply
from capi_llm.kube.resources import NODES, Ref
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.waiting import Status, pending

_NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "simulated", "labels": {"kubernetes.io/os": "linux", "type": "kwok"}},
}


class SimulatedNode(Step):
    name = "simulated-node"
    timeout = budgets.SIMULATED_NODE

    def __init__(self, needs: tuple[str, ...]) -> None:
        self.needs = needs

    def probe(self, ctx: Context) -> Status:
        node = ctx.api().find(Ref(NODES, "simulated"))
        return core.node(node) if node else pending("to be made")

    def apply(self, ctx: Context) -> None:
        apply(ctx.api(), [_NODE])
